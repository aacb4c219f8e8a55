package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/plain"
)

// search is what find was asked for.
type search struct {
	roots []word
	tests []func(e *client.Entry) bool // all are to be passed
	json  bool
}

func (s *shell) find(ctx context.Context, c *call) error {
	q, err := s.searchFor(ctx, c)
	if err != nil {
		return err
	}
	paths, err := s.paths(ctx, q.roots)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(s.out)
	defer w.Flush()
	return s.each(ctx, paths, func(p string) error {
		root, err := s.client.Stat(ctx, p)
		if err != nil {
			return err
		}
		if err := s.found(w, q, root); err != nil || !root.IsDir() {
			return err
		}
		for e, err := range s.client.List(ctx, root.Path, client.ListOptions{Recursive: true}) {
			if err != nil {
				return err
			}
			if err := s.found(w, q, &e); err != nil {
				return err
			}
		}
		return nil
	})
}

// found writes an entry that passes all tests.
func (s *shell) found(w io.Writer, q *search, e *client.Entry) error {
	for _, passes := range q.tests {
		if !passes(e) {
			return nil
		}
	}
	if q.json {
		return plain.JSON(w, e, "")
	}
	_, err := fmt.Fprintln(w, s.named(e, e.Path))
	return err
}

// searchFor reads the words of find: paths, then tests with what they take.
func (s *shell) searchFor(ctx context.Context, c *call) (*search, error) {
	q := &search{}
	for i := 0; i < len(c.words); i++ {
		w := c.words[i]
		if !strings.HasPrefix(w.text, "-") {
			if len(q.tests) > 0 {
				return nil, usagef("%q stands behind the tests; paths come first (`help find`)", w.text)
			}
			q.roots = append(q.roots, w)
			continue
		}
		if w.text == "--json" {
			q.json = true
			continue
		}
		make := findTests[w.text]
		if make == nil {
			return nil, usagef("find does not know %q (`help find`)", w.text)
		}
		if i++; i == len(c.words) {
			return nil, usagef("%s wants a value (`help find`)", w.text)
		}
		test, err := make(s, ctx, c.words[i])
		if err != nil {
			return nil, err
		}
		q.tests = append(q.tests, test)
	}
	return q, nil
}

var findTests = map[string]func(s *shell, ctx context.Context, w word) (func(*client.Entry) bool, error){
	"-name": byName, "-type": byType, "-size": bySize, "-newer": byTime,
}

// byName takes its pattern quoted, as shells want it, or not.
func byName(_ *shell, _ context.Context, w word) (func(*client.Entry) bool, error) {
	pattern := strings.ReplaceAll(w.text, "[!", "[^")
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, usagef("-name %s is no pattern: a [ is not closed", quoted(w.text))
	}
	return func(e *client.Entry) bool { ok, _ := path.Match(pattern, e.Name); return ok }, nil
}

func byType(_ *shell, _ context.Context, w word) (func(*client.Entry) bool, error) {
	kind := map[string]string{"f": "file", "d": "directory", "l": "symlink"}[w.text]
	if kind == "" {
		return nil, usagef("-type %s: it takes f (file), d (directory) or l (symbolic link)", quoted(w.text))
	}
	return func(e *client.Entry) bool { return e.Kind == kind }, nil
}

func bySize(_ *shell, _ context.Context, w word) (func(*client.Entry) bool, error) {
	number := strings.TrimLeft(w.text, "+-")
	shift := 0
	if i := strings.IndexAny(number, "kKMG"); i >= 0 && i == len(number)-1 {
		shift = map[byte]int{'k': 10, 'K': 10, 'M': 20, 'G': 30}[number[i]]
		number = number[:i]
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift || len(w.text)-len(strings.TrimLeft(w.text, "+-")) > 1 {
		return nil, usagef("-size %s is no size: 100, +10k (more than that), -2M (less)", quoted(w.text))
	}
	n <<= shift
	return func(e *client.Entry) bool {
		switch {
		case e.IsDir():
			return false
		case w.text[0] == '+':
			return e.Size > n
		case w.text[0] == '-':
			return e.Size < n
		}
		return e.Size == n
	}, nil
}

// byTime takes a time, or the path of a file that has one.
func byTime(s *shell, ctx context.Context, w word) (func(*client.Entry) bool, error) {
	after, ok := parseTime(w.text)
	if !ok {
		e, err := s.entry(ctx, s.absolute(w.text))
		if err != nil {
			return nil, fmt.Errorf("-newer takes a time (2026-11-21T14:00) or the path of a file: %w", err)
		}
		after = e.Modified
	}
	return func(e *client.Entry) bool { return e.Modified.After(after) }, nil
}

// entry looks a path up as lists have it, whose times are finer.
func (s *shell) entry(ctx context.Context, p string) (*client.Entry, error) {
	p = strings.TrimSuffix(p, "/")
	for e, err := range s.beginning(ctx, path.Dir(p), path.Base(p)) {
		if err != nil || e.Path == p {
			return &e, err
		}
	}
	return s.client.Stat(ctx, p) // the root, or nothing
}

// parseTime reads a time, local where it does not say otherwise.
func parseTime(text string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, true
	}
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
