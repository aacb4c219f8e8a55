package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/transfer"
)

// get reads a file: into the cache, into a local file, or to be shown.
func (s *shell) get(ctx context.Context, args []string) error {
	if len(args) == 2 && args[1] != "-" {
		return s.getInto(ctx, args[0], args[1])
	}
	e, err := s.client.Stat(ctx, args[0])
	if err != nil {
		return err
	}
	if e.IsDir() {
		return fmt.Errorf("%s is a directory: `ls` lists it", e.Path)
	}
	show := len(args) == 2
	if where, content, ok := s.cache.lookup(e); ok {
		return s.deliver(where, bytes.NewReader(content), e, show)
	}
	body, err := s.client.Get(ctx, args[0])
	if err != nil {
		return err
	}
	defer body.Close()
	where, content, err := s.cache.keep(&body.Entry, body)
	if err != nil {
		return err
	}
	return s.deliver(where, content, &body.Entry, show)
}

// deliver tells where the copy lies; what lies nowhere, or is to be shown, is
// written out.
func (s *shell) deliver(where string, content io.Reader, e *client.Entry, show bool) error {
	if where != "" && !show {
		_, err := fmt.Fprintf(s.out, "%s (%d bytes)\n", where, e.Size)
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
	if s.interactive {
		return s.show(content, e)
	}
	_, err := io.Copy(s.out, content)
	return err
}

// maxShown is how much of a text a terminal is given, in bytes.
const maxShown = 1 << 20

// show writes text to the terminal, and nothing that would drive it.
func (s *shell) show(content io.Reader, e *client.Entry) error {
	hint := fmt.Errorf("%s is no text that fits a screen (%d bytes): `get %s FILE` writes it to a file", e.Path, e.Size, e.Path)
	if e.Size > maxShown {
		return hint
	}
	b, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if !utf8.Valid(b) || bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' }) {
		return hint
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	_, err = s.out.Write(b)
	return err
}

// getInto writes a file where the person wants it, whole or not at all.
func (s *shell) getInto(ctx context.Context, path, file string) error {
	body, err := s.client.Get(ctx, path)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := transfer.Receive(file, false)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, body); err != nil {
		f.Abort()
		return err
	}
	if err := f.Commit(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s (%d bytes)\n", file, body.Entry.Size)
	return err
}
