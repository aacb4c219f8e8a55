package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/browse"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/transfer"
)

// get reads files: into the cache, into local files, or to be shown.
func (s *shell) get(ctx context.Context, c *call) error {
	paths, err := s.paths(ctx, c.words[:1])
	if err != nil {
		return err
	}
	switch {
	case len(c.words) == 2 && c.text(1) != "-":
		return s.getInto(ctx, c, paths)
	case c.set["recursive"] && len(c.words) == 2:
		return usagef("a tree cannot be shown: `get -r %s DIRECTORY` writes it there", c.text(0))
	case c.set["recursive"]:
		return s.each(ctx, paths, func(p string) error { return s.getTree(ctx, p) })
	}
	return s.each(ctx, paths, func(p string) error { return s.copyOf(ctx, p, len(c.words) == 2) })
}

// cat shows files.
func (s *shell) cat(ctx context.Context, c *call) error {
	paths, err := s.paths(ctx, c.words)
	if err != nil {
		return err
	}
	return s.each(ctx, paths, func(p string) error { return s.copyOf(ctx, p, true) })
}

// copyOf makes a decrypted copy of a file, or takes the one that is there,
// and tells where it lies or shows it.
func (s *shell) copyOf(ctx context.Context, path string, show bool) error {
	e, err := s.client.Stat(ctx, path)
	if err != nil {
		return err
	}
	if e.IsDir() {
		return fmt.Errorf("%s is a directory: `ls` lists it, `get -r` copies it", e.Path)
	}
	if e.IsSymlink() {
		return fmt.Errorf("%s is a symbolic link to %s: get what it leads to", e.Path, quoted(e.Target))
	}
	if where, content, ok := s.cache.lookup(e); ok {
		return s.deliver(where, bytes.NewReader(content), e, show)
	}
	where, content, e, err := s.fetch(ctx, path)
	if err != nil {
		return err
	}
	defer content.Close()
	return s.deliver(where, content, e, show)
}

// fetch makes a copy in the cache. content is to be read where it lies in no
// file (where is ""), and to be closed in any case.
func (s *shell) fetch(ctx context.Context, path string) (where string, content io.ReadCloser, e *client.Entry, err error) {
	body, err := s.client.Get(ctx, path)
	if err != nil {
		return "", nil, nil, err
	}
	bar := s.bar(body.Entry.Size, path)
	where, r, err := s.cache.keep(&body.Entry, counted{body, bar.Add})
	bar.Finish()
	if err != nil {
		_ = body.Close() // what failed is told
		return "", nil, nil, err
	}
	return where, struct {
		io.Reader
		io.Closer
	}{r, body}, &body.Entry, nil
}

// counted tells of what passes through.
type counted struct {
	io.Reader
	add func(int64)
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.add(int64(n))
	return n, err
}

// getTree makes decrypted copies of all files below a directory.
func (s *shell) getTree(ctx context.Context, path string) error {
	if !s.cache.inFiles() {
		return usagef("%s is no tmpfs, so that a tree cannot be kept there: `get -r %s DIRECTORY` writes it elsewhere", s.cache.dir(), quoted(path))
	}
	root, err := s.client.Stat(ctx, path)
	if err != nil || !root.IsDir() {
		if err == nil {
			err = s.copyOf(ctx, path, false)
		}
		return err
	}
	files, size := 0, int64(0)
	for e, err := range s.client.List(ctx, root.Path, client.ListOptions{Recursive: true}) {
		if err != nil {
			return err
		}
		if e.Kind != "file" {
			continue
		}
		if _, _, ok := s.cache.lookup(&e); !ok {
			_, content, _, err := s.fetch(ctx, e.Path)
			if err != nil {
				return err
			}
			_ = content.Close() // it has been read to its end
		}
		files++
		size += e.Size
	}
	_, err = fmt.Fprintf(s.out, "%s (%s, %d bytes)\n", s.shown(s.cache.dir()+root.Path), browse.Count(files, "file", "files"), size)
	return err
}

// deliver tells where the copy lies; what lies nowhere, or is to be shown, is
// written out.
func (s *shell) deliver(where string, content io.Reader, e *client.Entry, show bool) error {
	if where != "" && !show {
		_, err := fmt.Fprintf(s.out, "%s (%d bytes)\n", s.shown(where), e.Size)
		return err
	}
	if where != "" {
		f, err := os.Open(where)
		if err != nil {
			return err
		}
		defer f.Close()
		content = f
	}
	if plain.IsTerminal(s.out) {
		return s.show(content, e)
	}
	_, err := io.Copy(s.out, content)
	return err
}

// maxShown is how much of a text a terminal is given, in bytes.
const maxShown = 1 << 20

// show writes text to the terminal, and nothing that would drive it.
func (s *shell) show(content io.Reader, e *client.Entry) error {
	hint := fmt.Errorf("%s is no text that fits a screen (%d bytes): `get %s FILE` writes it to a file", e.Path, e.Size, quoted(e.Path))
	if e.Size > maxShown {
		return hint
	}
	b, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if !utf8.Valid(b) || bytes.ContainsFunc(b, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0
	}) {
		return hint
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	_, err = s.out.Write(b)
	return err
}

// getInto writes files where the person wants them, each whole or not at all.
func (s *shell) getInto(ctx context.Context, c *call, paths []string) error {
	local, err := s.local(c.words[1])
	if err != nil {
		return err
	}
	var from []transfer.Place
	for _, p := range paths {
		from = append(from, transfer.Place{Client: s.client, Path: p})
	}
	plan, err := transfer.Make(ctx, from, transfer.Place{Path: local}, transfer.PlanOptions{Recursive: c.set["recursive"]})
	if err != nil {
		return err
	}
	if !single(plan) {
		return s.carryOut(ctx, plan, c)
	}
	it := plan.Items[0]
	bar := s.bar(it.Size, it.Target().Path)
	var failed error
	res, err := transfer.Run(ctx, plan, transfer.Options{
		NoOverwrite: c.set["no-clobber"], Progress: bar.Add,
		Failed: func(_ transfer.Item, err error) { failed = err },
	})
	bar.Finish()
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	case res.Kept > 0:
		_, err = fmt.Fprintf(s.out, "%s was there and stays as it is.\n", s.shown(it.Target().Path))
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s (%d bytes)\n", s.shown(it.Target().Path), res.Bytes)
	return err
}
