package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/browse"
	"github.com/efs-project/efs/internal/plain"
)

func (s *shell) ls(ctx context.Context, c *call) error {
	paths, err := s.paths(ctx, c.words)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(s.out)
	defer w.Flush()
	many := len(paths) > 1
	files := 0
	var dirs []string
	err = s.each(ctx, paths, func(p string) error {
		e, err := s.client.Stat(ctx, p)
		if err != nil {
			return err
		}
		if e.IsDir() && !c.set["directory"] {
			dirs = append(dirs, p)
			return nil
		}
		files++
		return s.listed(w, c, e, e.Path)
	})
	for i, dir := range dirs {
		if many && !c.set["json"] {
			if i+files > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintf(w, "%s:\n", s.shown(dir))
		}
		if err := s.lsDir(ctx, w, c, dir); err != nil {
			return err
		}
	}
	return err
}

func (s *shell) lsDir(ctx context.Context, w io.Writer, c *call, dir string) error {
	below := strings.TrimSuffix(dir, "/") + "/"
	for e, err := range s.client.List(ctx, dir, client.ListOptions{Recursive: c.set["recursive"]}) {
		if err != nil {
			return err
		}
		if err := s.listed(w, c, &e, strings.TrimPrefix(e.Path, below)); err != nil {
			return err
		}
	}
	return nil
}

// listed writes one entry as ls was asked to.
func (s *shell) listed(w io.Writer, c *call, e *client.Entry, name string) error {
	if c.set["json"] {
		return plain.JSON(w, e, "")
	}
	name = s.named(e, name)
	if !c.set["long"] {
		_, err := fmt.Fprintln(w, name)
		return err
	}
	if e.Target != "" {
		name += " -> " + s.shown(e.Target)
	}
	_, err := fmt.Fprintf(w, "%4s  %12s  %s  %s\n", orElse(client.FormatMode(e.Mode), "-"), s.size(e, c), modified(e), name)
	return err
}

func (s *shell) size(e *client.Entry, c *call) string {
	if e.IsDir() {
		return "-"
	}
	return sizeText(e.Size, c.set["human"])
}

func modified(e *client.Entry) string {
	if e.Modified.IsZero() {
		return strings.Repeat(" ", len(time.DateTime)-1) + "-"
	}
	return e.Modified.Local().Format(time.DateTime)
}

// sizeText writes a size for people who want it so, or as it is.
func sizeText(n int64, human bool) string {
	if !human || n < 1<<10 {
		return fmt.Sprint(n)
	}
	v, unit := float64(n), 0
	for ; v >= 1023.5 && unit < 5; unit++ {
		v /= 1024
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f%c", v, " KMGTP"[unit])
	}
	return fmt.Sprintf("%.0f%c", v, " KMGTP"[unit])
}

// shown is a text as it may come to where the output goes.
func (s *shell) shown(text string) string { return plain.Printable(s.out, text) }

// named is the name of an entry, in the colour of its kind.
func (s *shell) named(e *client.Entry, name string) string {
	name = s.shown(name)
	colour := ""
	switch {
	case e.IsDir():
		name = strings.TrimSuffix(name, "/") + "/"
		colour = "\x1b[1;34m"
	case e.Kind == "symlink":
		colour = "\x1b[1;36m"
	}
	if !s.colour || colour == "" {
		return name
	}
	return colour + name + "\x1b[0m"
}

func (s *shell) tree(ctx context.Context, c *call) error {
	paths, err := s.paths(ctx, c.words)
	if err != nil {
		return err
	}
	if len(paths) > 1 {
		return usagef("%q matches %d paths: tree shows one", c.text(0), len(paths))
	}
	w := bufio.NewWriter(s.out)
	defer w.Flush()
	e, err := s.client.Stat(ctx, paths[0])
	if err != nil {
		return err
	}
	if !e.IsDir() {
		return fmt.Errorf("%s is no directory", e.Path)
	}
	fmt.Fprintln(w, s.named(e, e.Path))
	t := browse.Tree{Client: s.client, Out: w, Name: func(e *client.Entry) string { return s.named(e, e.Name) }}
	if err := t.Draw(ctx, e.Path); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\n%s\n", t.Summary())
	return err
}

func (s *shell) stat(ctx context.Context, c *call) error {
	paths, err := s.paths(ctx, c.words)
	if err != nil {
		return err
	}
	return s.each(ctx, paths, func(p string) error {
		e, err := s.client.Stat(ctx, p)
		if err != nil {
			return err
		}
		if c.set["json"] {
			return plain.JSON(s.out, e, "")
		}
		return s.describe(e)
	})
}

func (s *shell) describe(e *client.Entry) error {
	w := tabwriter.NewWriter(s.out, 0, 8, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s:\t%s\n", name, s.shown(value))
		}
	}
	line("Path", e.Path)
	line("Kind", e.Kind)
	line("Target", e.Target)
	line("Mode", client.FormatMode(e.Mode))
	if e.Kind == "file" {
		line("Size", fmt.Sprint(e.Size))
	}
	line("Type", e.Type)
	if !e.Modified.IsZero() {
		line("Modified", e.Modified.UTC().Format(time.RFC3339))
	}
	line("SHA-256", e.SHA256)
	line("ETag", e.ETag)
	for _, k := range slices.Sorted(maps.Keys(e.Meta)) {
		line("Meta "+k, e.Meta[k])
	}
	return w.Flush()
}
