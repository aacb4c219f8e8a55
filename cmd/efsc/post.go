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
func (s *shell) post(ctx context.Context, args []string) error {
	var body io.Reader
	switch {
	case len(args) == 1:
		if s.interactive {
			fmt.Fprintln(s.out, "Type or paste the contents; Ctrl-D on a line of its own ends them, Ctrl-C drops them.")
		}
		r, err := await(ctx, s.in.contents)
		if errors.Is(err, errInterrupted) {
			return errors.New("interrupted: nothing was stored")
		}
		if err != nil {
			return err
		}
		body = r
	case strings.HasPrefix(args[1], "<<"):
		b, err := s.linesUpTo(ctx, strings.TrimPrefix(args[1], "<<"))
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	default:
		f, err := os.Open(args[1])
		if err != nil {
			return err
		}
		defer f.Close()
		body = f
	}
	return s.store(ctx, args[0], body)
}

// store tells what the server is at: it encrypts while it receives, and
// stores what is complete.
func (s *shell) store(ctx context.Context, path string, body io.Reader) error {
	received := sync.OnceFunc(func() { fmt.Fprintln(s.out, "Storage...") })
	o := client.PutOptions{}
	if size := sizeOf(body); size < 0 {
		body = &watched{body, received}
	} else {
		o.Progress = func(n int64) {
			if size -= n; size == 0 {
				received()
			}
		}
	}
	fmt.Fprintln(s.out, "Encryption...")
	if _, err := s.client.Put(ctx, path, body, o); err != nil {
		return err
	}
	received() // of an empty file nothing came
	fmt.Fprintln(s.out, "Done.")
	return nil
}

// linesUpTo reads contents up to a line that is word alone.
func (s *shell) linesUpTo(ctx context.Context, word string) ([]byte, error) {
	if word == "" {
		return nil, usageError{errors.New("usage: post PATH <<WORD")}
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
