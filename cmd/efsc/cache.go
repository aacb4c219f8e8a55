package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/stage"
)

// cache keeps decrypted copies where they never reach a disk, and gives them
// out again while the file has the ETag they were made of.
type cache interface {
	// lookup finds a copy: where it lies, or, where it lies in memory (where
	// is ""), its content.
	lookup(e *client.Entry) (where string, content []byte, ok bool)
	// keep makes a copy of what body delivers. content is to be read where
	// the copy does not lie in a file.
	keep(e *client.Entry, body io.Reader) (where string, content io.Reader, err error)
	// clear wipes all copies, also those of earlier sessions.
	clear() error
	// dir names the cache to people.
	dir() string
	// inFiles reports whether copies are files that others can open.
	inFiles() bool
}

// newCache keeps copies below dir if that is a tmpfs this user can write to,
// in memory otherwise.
func newCache(dir string) cache {
	dir = filepath.Clean(dir)
	if onTmpfs(dir) {
		if root, err := os.OpenRoot(dir); err == nil {
			return &fileCache{path: dir, root: root, etags: map[string]string{}}
		}
	}
	return &memoryCache{path: dir, files: map[string]cached{}}
}

// fileCache keeps copies as files on a tmpfs, under their own paths.
type fileCache struct {
	path  string
	root  *os.Root
	etags map[string]string // of the copies that this process made
}

func (c *fileCache) dir() string   { return c.path }
func (c *fileCache) inFiles() bool { return true }

func (c *fileCache) lookup(e *client.Entry) (string, []byte, bool) {
	rel := strings.TrimPrefix(e.Path, "/")
	if e.ETag == "" || c.etags[rel] != e.ETag {
		return "", nil, false
	}
	if fi, err := c.root.Lstat(rel); err != nil || !fi.Mode().IsRegular() || fi.Size() != e.Size {
		return "", nil, false
	}
	return filepath.Join(c.path, rel), nil, true
}

func (c *fileCache) keep(e *client.Entry, body io.Reader) (string, io.Reader, error) {
	rel, err := filepath.Localize(strings.TrimPrefix(e.Path, "/"))
	if err != nil {
		return "", nil, err
	}
	if err := c.root.MkdirAll(filepath.Dir(rel), 0o700); err != nil {
		return "", nil, fmt.Errorf("making room in %s: %w", c.path, err)
	}
	f, err := stage.CreateIn(c.root, rel, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("writing to %s: %w", c.path, err)
	}
	if _, err := io.Copy(f, body); err != nil {
		f.Abort()
		return "", nil, err
	}
	if err := f.Commit(); err != nil {
		return "", nil, fmt.Errorf("writing to %s: %w", c.path, err)
	}
	c.etags[rel] = e.ETag
	return filepath.Join(c.path, rel), nil, nil
}

func (c *fileCache) clear() error {
	clear(c.etags)
	entries, err := os.ReadDir(c.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.root.RemoveAll(e.Name()); err != nil {
			return fmt.Errorf("not all was removed: %w", err)
		}
	}
	return nil
}

// Bounds of what memory holds, in bytes.
const (
	maxCached     = 64 << 20
	maxCachedFile = 16 << 20
)

// memoryCache keeps copies in this process. Larger files pass through.
type memoryCache struct {
	path  string
	files map[string]cached
	bytes int
}

type cached struct {
	etag    string
	content []byte
}

func (c *memoryCache) dir() string   { return c.path }
func (c *memoryCache) inFiles() bool { return false }

func (c *memoryCache) lookup(e *client.Entry) (string, []byte, bool) {
	f, ok := c.files[e.Path]
	if !ok || e.ETag == "" || f.etag != e.ETag {
		return "", nil, false
	}
	return "", f.content, true
}

func (c *memoryCache) keep(e *client.Entry, body io.Reader) (string, io.Reader, error) {
	if e.Size > maxCachedFile {
		return "", body, nil
	}
	b := make([]byte, e.Size)
	if _, err := io.ReadFull(body, b); err != nil {
		return "", nil, err
	}
	if n, err := body.Read(make([]byte, 1)); n != 0 || err != io.EOF { // EOF says that the digest agrees
		return "", nil, fmt.Errorf("reading %s: %w", e.Path, err)
	}
	c.drop(e.Path)
	for path := range c.files {
		if c.bytes+len(b) <= maxCached {
			break
		}
		c.drop(path)
	}
	c.files[e.Path] = cached{e.ETag, b}
	c.bytes += len(b)
	return "", bytes.NewReader(b), nil
}

// drop wipes a copy.
func (c *memoryCache) drop(path string) {
	f, ok := c.files[path]
	if !ok {
		return
	}
	clear(f.content)
	c.bytes -= len(f.content)
	delete(c.files, path)
}

func (c *memoryCache) clear() error {
	for path := range c.files {
		c.drop(path)
	}
	return nil
}
