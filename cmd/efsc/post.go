package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/efs-project/efs/client"
)

// post stores a local file, or what is typed.
func (s *shell) post(ctx context.Context, c *call) error {
	if len(c.words) == 3 && (!c.words[1].here || c.text(1) != "<<") {
		return usagef("usage: %s", c.cmd.usage)
	}
	path := s.absolute(c.text(0))
	body, err := s.posted(ctx, c)
	if err != nil {
		return err
	}
	defer body.Close()
	return s.store(ctx, path, body, client.PutOptions{})
}

// posted is what is to be stored.
func (s *shell) posted(ctx context.Context, c *call) (io.ReadCloser, error) {
	if len(c.words) == 1 {
		return s.typed(ctx)
	}
	if !c.words[1].here {
		file, err := s.local(c.words[1])
		if err != nil {
			return nil, err
		}
		return os.Open(file)
	}
	b, err := s.linesUpTo(ctx, strings.TrimPrefix(c.text(1), "<<")+c.text(2))
	return inMemory{bytes.NewReader(b)}, err
}

// inMemory is a body whose length is known.
type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// typed is what is typed or pasted up to Ctrl-D.
func (s *shell) typed(ctx context.Context) (io.ReadCloser, error) {
	if s.interactive {
		fmt.Fprintln(s.out, "Type or paste the contents; Ctrl-D on a line of its own ends them, Ctrl-C drops them.")
	}
	r, err := await(ctx, s.in.contents)
	if errors.Is(err, errInterrupted) {
		return nil, errors.New("interrupted: nothing was stored")
	}
	if err != nil {
		return nil, err
	}
	if text, ok := r.(*strings.Reader); ok {
		b, err := io.ReadAll(text)
		return inMemory{bytes.NewReader(b)}, err
	}
	return io.NopCloser(r), nil
}

// store tells what the server is at: it encrypts while it receives, and
// stores what is complete.
func (s *shell) store(ctx context.Context, path string, body io.Reader, o client.PutOptions) error {
	size := sizeOf(body)
	left := size // to be sent
	fmt.Fprintln(s.out, "Encryption...")
	bar := s.bar(size, path)
	endBar := sync.OnceFunc(bar.Finish)
	received := sync.OnceFunc(func() {
		endBar()
		fmt.Fprintln(s.out, "Storage...")
	})
	o.Progress = func(n int64) {
		bar.Add(n)
		if left -= n; left == 0 {
			received()
		}
	}
	if size < 0 {
		body = &watched{body, received}
	}
	_, err := s.client.Put(ctx, path, body, o)
	endBar()
	if err != nil {
		return err
	}
	received() // of an empty file nothing came
	return s.done(nil)
}

// linesUpTo reads contents up to a line that is word alone.
func (s *shell) linesUpTo(ctx context.Context, word string) ([]byte, error) {
	if word == "" {
		return nil, usagef("usage: post PATH <<WORD")
	}
	var b bytes.Buffer
	for {
		line, err := await(ctx, s.in.line)
		if strings.TrimRight(line, "\r\n") == word {
			return b.Bytes(), nil
		}
		if err != nil {
			return nil, fmt.Errorf("the input ended before a line %q: nothing was stored", word)
		}
		b.WriteString(line)
	}
}

// sizeOf returns how much body will deliver, -1 where that is not known.
func sizeOf(body io.Reader) int64 {
	switch b := body.(type) {
	case *os.File:
		if fi, err := b.Stat(); err == nil && fi.Mode().IsRegular() {
			return fi.Size()
		}
	case interface{ Len() int }:
		return int64(b.Len())
	}
	return -1
}

// watched calls atEnd when all has been read.
type watched struct {
	io.Reader
	atEnd func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err == io.EOF {
		w.atEnd()
	}
	return n, err
}
