package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func (s *shell) cd(ctx context.Context, c *call) error {
	to := "/"
	switch {
	case c.text(0) == "-":
		to = s.lastDir
	case len(c.words) == 1:
		found, err := s.paths(ctx, c.words)
		if err != nil {
			return err
		}
		if len(found) > 1 {
			return usagef("%q matches %d paths: cd goes to one", c.text(0), len(found))
		}
		to = s.absolute(strings.TrimSuffix(found[0], "/"))
	}
	e, err := s.client.Stat(ctx, to)
	if err != nil {
		return err
	}
	if !e.IsDir() {
		return fmt.Errorf("%s is no directory", to)
	}
	s.dir, s.lastDir = to, s.dir
	return nil
}

func (s *shell) pwd(context.Context, *call) error {
	_, err := fmt.Fprintln(s.out, s.shown(s.dir))
	return err
}

// local is a path on this machine as it is meant from the current directory
// there; ~ is the home directory.
func (s *shell) local(w word) (string, error) {
	p := w.text
	if w.home {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		return home + p[1:], nil
	}
	return s.fromLocalDir(p), nil
}

func (s *shell) fromLocalDir(p string) string {
	if s.localDir == "" || filepath.IsAbs(p) {
		return p
	}
	joined := filepath.Join(s.localDir, p)
	if strings.HasSuffix(p, "/") && joined != "/" {
		joined += "/" // it says that this is a directory
	}
	return joined
}

// locals returns the local paths that a word means: those that a pattern
// matches, or the one.
func (s *shell) locals(w word) ([]string, error) {
	p, err := s.local(w)
	if err != nil || !w.glob {
		return []string{p}, err
	}
	pattern := w.pattern
	switch {
	case w.home:
		pattern = escapeGlob(strings.TrimSuffix(p, w.text[1:])) + pattern[1:]
	case s.localDir != "" && !filepath.IsAbs(w.text):
		pattern = escapeGlob(s.localDir) + "/" + pattern
	}
	found, err := filepath.Glob(pattern)
	if err != nil {
		return []string{p}, nil // no pattern after all
	}
	var shown []string
	for _, f := range found {
		if !strings.HasPrefix(filepath.Base(f), ".") || strings.HasPrefix(filepath.Base(pattern), ".") {
			shown = append(shown, f)
		}
	}
	if len(shown) == 0 {
		return []string{p}, nil // as shells do
	}
	return shown, nil
}

func escapeGlob(p string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(p)
}

func (s *shell) lcd(_ context.Context, c *call) error {
	w := word{text: "~", home: true}
	if len(c.words) == 1 {
		w = c.words[0]
	}
	dir, err := s.local(w)
	if err != nil {
		return err
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is no directory", dir)
	}
	s.localDir, err = filepath.Abs(dir)
	return err
}

func (s *shell) lpwd(context.Context, *call) error {
	dir, err := filepath.Abs(s.fromLocalDir("."))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, s.shown(dir))
	return err
}
