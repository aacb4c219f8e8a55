package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/plain"
)

func (s *shell) du(ctx context.Context, c *call) error {
	paths, err := s.paths(ctx, c.words)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(s.out)
	defer w.Flush()
	return s.each(ctx, paths, func(p string) error {
		e, err := s.client.Stat(ctx, p)
		if err != nil {
			return err
		}
		if !e.IsDir() {
			return s.usage(w, c, e.Path, e.Size)
		}
		return s.duDir(ctx, w, c, e.Path)
	})
}

// duDir adds up a tree in one pass: it is listed depth first, so that a
// directory is done when something comes that is not below it.
func (s *shell) duDir(ctx context.Context, w io.Writer, c *call, root string) error {
	type open struct {
		path string
		sum  int64
	}
	stack := []open{{path: root}}
	closeTop := func() error {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if len(stack) > 0 {
			stack[len(stack)-1].sum += top.sum
			if c.set["summarize"] {
				return nil
			}
		}
		return s.usage(w, c, top.path, top.sum)
	}
	for e, err := range s.client.List(ctx, root, client.ListOptions{Recursive: true}) {
		if err != nil {
			return err
		}
		for len(stack) > 1 && !strings.HasPrefix(e.Path, stack[len(stack)-1].path+"/") {
			if err := closeTop(); err != nil {
				return err
			}
		}
		if e.IsDir() {
			stack = append(stack, open{path: e.Path})
		} else {
			stack[len(stack)-1].sum += e.Size
		}
	}
	for len(stack) > 0 {
		if err := closeTop(); err != nil {
			return err
		}
	}
	return nil
}

func (s *shell) usage(w io.Writer, c *call, path string, sum int64) error {
	if c.set["json"] {
		return plain.JSON(w, struct {
			Path  string `json:"path"`
			Bytes int64  `json:"bytes"`
		}{path, sum}, "")
	}
	_, err := fmt.Fprintf(w, "%s\t%s\n", sizeText(sum, c.set["human"]), s.shown(path))
	return err
}
