package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/stage"
)

// fileCache keeps copies as files on a tmpfs, under their own paths.
type fileCache struct {
	path   string
	root   *os.Root
	source string            // server and file system of this session
	made   map[string]copied // by path below root
}

func (c *fileCache) dir() string   { return c.path }
func (c *fileCache) inFiles() bool { return true }

func (c *fileCache) lookup(e *client.Entry) (string, []byte, bool) {
	rel := strings.TrimPrefix(e.Path, "/")
	made, ok := c.made[rel]
	if !ok || e.ETag == "" || made.ETag != e.ETag || made.Source != c.source {
		return "", nil, false
	}
	fi, err := c.root.Lstat(rel)
	if err != nil || !fi.Mode().IsRegular() || !ownedByUs(fi) || fi.Size() != made.Size || fi.ModTime().UnixNano() != made.Modified {
		return "", nil, false // it was changed or taken away
	}
	return filepath.Join(c.path, rel), nil, true
}

func (c *fileCache) keep(e *client.Entry, body io.Reader) (string, io.Reader, error) {
	rel, err := filepath.Localize(strings.TrimPrefix(e.Path, "/"))
	if err != nil {
		return "", nil, err
	}
	if rel == ledgerName {
		return "", nil, fmt.Errorf("%s cannot be copied to %s, where efsc has a file of that name: `get %s FILE`", e.Path, c.path, quoted(e.Path))
	}
	if err := c.makeRoom(rel); err != nil {
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
	if err := c.remember(rel, e.ETag); err != nil {
		return "", nil, fmt.Errorf("writing to %s: %w", c.path, err)
	}
	return filepath.Join(c.path, rel), nil, nil
}

// makeRoom makes the directories above rel. Copies that lie where there is a
// directory now, or the other way round, are gone from the file system.
func (c *fileCache) makeRoom(rel string) error {
	for dir := path.Dir(rel); dir != "."; dir = path.Dir(dir) {
		if _, ours := c.made[dir]; !ours {
			continue
		}
		if fi, err := c.root.Lstat(dir); err == nil && fi.Mode().IsRegular() {
			if err := c.root.Remove(dir); err != nil {
				return err
			}
		}
		delete(c.made, dir)
	}
	if fi, err := c.root.Lstat(rel); err == nil && fi.IsDir() {
		if err := c.root.Remove(rel); err != nil {
			return fmt.Errorf("earlier copies are in the way, `clear-cache` removes them: %w", err)
		}
	}
	return c.root.MkdirAll(path.Dir(rel), 0o700)
}

// remember enters a copy that was made.
func (c *fileCache) remember(rel, etag string) error {
	fi, err := c.root.Lstat(rel)
	if err != nil {
		return err
	}
	made := copied{Path: rel, Source: c.source, ETag: etag, Size: fi.Size(), Modified: fi.ModTime().UnixNano()}
	c.made[rel] = made
	_ = appendLedger(c.root, made) // later sessions make the copy again then
	return nil
}

func (c *fileCache) clear() error {
	clear(c.made)
	entries, err := os.ReadDir(c.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.root.RemoveAll(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("not all was removed: %w", err)
		}
	}
	return nil
}
