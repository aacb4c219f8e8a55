package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/efs-project/efs/client"
)

// done is the server's confirmation, told to people.
func (s *shell) done(err error) error {
	if err == nil {
		_, err = fmt.Fprintln(s.out, "Done.")
	}
	return err
}

func (s *shell) rm(ctx context.Context, c *call) error {
	paths, err := s.paths(ctx, c.words)
	if err != nil {
		return err
	}
	return s.done(s.each(ctx, paths, func(p string) error {
		var err error
		if c.set["recursive"] {
			err = s.client.RemoveAll(ctx, p)
		} else {
			err = s.client.Remove(ctx, p, client.RemoveOptions{})
		}
		switch {
		case errors.Is(err, client.ErrNotEmpty) && !c.set["recursive"]:
			return fmt.Errorf("%s is a directory and not empty: remove it with all below it by rm -r", p)
		case errors.Is(err, client.ErrNotFound) && c.set["force"]:
			return nil
		}
		return err
	}))
}

func (s *shell) mkdir(ctx context.Context, c *call) error {
	paths, err := s.paths(ctx, c.words)
	if err != nil {
		return err
	}
	return s.done(s.each(ctx, paths, func(p string) error {
		err := s.client.Mkdir(ctx, p, client.MkdirOptions{})
		if errors.Is(err, client.ErrExists) && c.set["parents"] && s.isDir(ctx, p) {
			return nil
		}
		return err
	}))
}

func (s *shell) isDir(ctx context.Context, p string) bool {
	e, err := s.client.Stat(ctx, p)
	return err == nil && e.IsDir()
}

func (s *shell) mv(ctx context.Context, c *call) error {
	o := client.MoveOptions{NoOverwrite: c.set["no-clobber"]}
	return s.relocate(ctx, c, func(from, to string) error { return s.client.Move(ctx, from, to, o) })
}

func (s *shell) cp(ctx context.Context, c *call) error {
	o := client.MoveOptions{NoOverwrite: c.set["no-clobber"]}
	return s.relocate(ctx, c, func(from, to string) error {
		if !c.set["recursive"] && s.isDir(ctx, from) {
			return usagef("%s is a directory: copy it with cp -r", from)
		}
		return s.client.Copy(ctx, from, to, o)
	})
}

// relocate moves or copies sources to a path or into a directory.
func (s *shell) relocate(ctx context.Context, c *call, do func(from, to string) error) error {
	paths, err := s.paths(ctx, c.words)
	if err != nil {
		return err
	}
	last := len(paths) - 1
	sources, target := paths[:last], paths[last]
	into := s.isDir(ctx, target)
	if len(sources) > 1 && !into {
		return usagef("%s is no directory: several sources need one to go into", target)
	}
	return s.done(s.each(ctx, sources, func(from string) error {
		from = strings.TrimSuffix(from, "/")
		to := strings.TrimSuffix(target, "/")
		if into || strings.HasSuffix(target, "/") {
			to = path.Join(target, path.Base(from))
		}
		if from == "" || to == from || strings.HasPrefix(to, from+"/") {
			return usagef("%s cannot go to %s: that is the same, or below it", orElse(from, "/"), to)
		}
		return do(from, to)
	}))
}
