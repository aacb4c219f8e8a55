package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/efs-project/efs/client"
)

const anyNumber = 1 << 20

var commands []command

// The table refers to the commands, and help to the table.
func init() {
	commands = []command{
		{"post", "post PATH [FILE | <<WORD]", "store a local file; or what is typed or pasted up to Ctrl-D; or the lines up to WORD", 1, 2, (*shell).post},
		{"get", "get PATH [FILE | -]", "read into a local copy that clear-cache wipes; or into FILE; or show it (-)", 1, 2, (*shell).get},
		{"ls", "ls [-l] [PATH]", "list a directory", 0, 2, (*shell).ls},
		{"rm", "rm [-r] PATH…", "remove files and empty directories; with -r, directories with all below", 1, anyNumber, (*shell).rm},
		{"stat", "stat PATH…", "show what is known of a file", 1, anyNumber, (*shell).stat},
		{"clear-cache", "clear-cache", "wipe the decrypted local copies", 0, 0, (*shell).clearCache},
		{"help", "help [COMMAND]", "list the commands", 0, 1, (*shell).help},
		{"stop", "stop", "end the client, and its container where it runs in one", 0, 0, (*shell).stop},
	}
}

func (s *shell) help(_ context.Context, args []string) error {
	w := tabwriter.NewWriter(s.out, 0, 8, 2, ' ', 0)
	for _, c := range commands {
		if len(args) == 0 || args[0] == c.name {
			fmt.Fprintf(w, "%s\t%s\n", c.usage, c.help)
		}
	}
	if len(args) == 1 && find(args[0]) == nil {
		return usageError{fmt.Errorf("there is no command %q; `help` lists them", args[0])}
	}
	return w.Flush()
}

func (s *shell) ls(ctx context.Context, args []string) error {
	long := false
	path := "/"
	for _, a := range args {
		if a == "-l" {
			long = true
		} else {
			path = a
		}
	}
	w := tabwriter.NewWriter(s.out, 0, 8, 2, ' ', 0)
	defer w.Flush()
	for e, err := range s.client.List(ctx, path, client.ListOptions{}) {
		if err != nil {
			return err
		}
		name := shown(e.Name)
		if e.IsDir() {
			name += "/"
		}
		if long {
			if e.IsSymlink() {
				name += " -> " + shown(e.Target)
			}
			name = fmt.Sprintf("%s\t%d\t%s\t%s", cmp.Or(client.FormatMode(e.Mode), "-"), e.Size, e.Modified.Local().Format(time.DateTime), name)
		}
		fmt.Fprintln(w, name)
	}
	return nil
}

// shown replaces control characters, which a terminal would obey.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

func (s *shell) rm(ctx context.Context, args []string) error {
	recursive := args[0] == "-r"
	if recursive {
		args = args[1:]
	}
	if len(args) == 0 {
		return usageError{fmt.Errorf("usage: rm [-r] PATH…")}
	}
	for _, path := range args {
		var err error
		if recursive {
			err = s.client.RemoveAll(ctx, path)
		} else {
			err = s.client.Remove(ctx, path, client.RemoveOptions{})
		}
		if errors.Is(err, client.ErrNotEmpty) && !recursive {
			return fmt.Errorf("%s is a directory and not empty: remove it with all below it by rm -r", shown(path))
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(s.out, "Done.")
	return nil
}

func (s *shell) stat(ctx context.Context, args []string) error {
	for _, path := range args {
		e, err := s.client.Stat(ctx, path)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(s.out, 0, 8, 2, ' ', 0)
		fmt.Fprintf(w, "Path:\t%s\nKind:\t%s\n", shown(e.Path), e.Kind)
		if e.IsSymlink() {
			fmt.Fprintf(w, "Target:\t%s\n", shown(e.Target))
		}
		if mode := client.FormatMode(e.Mode); mode != "" {
			fmt.Fprintf(w, "Mode:\t%s\n", mode)
		}
		if e.Kind == "file" {
			fmt.Fprintf(w, "Size:\t%d\nType:\t%s\nModified:\t%s\nSHA-256:\t%s\nETag:\t%s\n",
				e.Size, shown(e.Type), e.Modified.UTC().Format(time.RFC3339), e.SHA256, e.ETag)
		}
		for k, v := range e.Meta {
			fmt.Fprintf(w, "Meta %s:\t%s\n", k, shown(v))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (s *shell) clearCache(ctx context.Context, _ []string) error {
	answer, err := await(ctx, func() (string, error) {
		return s.in.answer(fmt.Sprintf("`rm -rf %s/*` will be performed. Continue ? (y/N) : ", s.cache.dir()))
	})
	if err != nil {
		return fmt.Errorf("nothing was removed: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		fmt.Fprintln(s.out, "Nothing was removed.")
		return nil
	}
	if err := s.cache.clear(); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "Cache cleared.")
	return nil
}

func (s *shell) stop(_ context.Context, _ []string) error {
	s.stopped = true
	if !inContainer() {
		return nil
	}
	fmt.Fprintln(s.out, "shutting down container..")
	return stopContainer()
}
