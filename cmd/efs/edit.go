package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/progress"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func catCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "cat REMOTE:PATH…",
		Short: "Write files to standard output",
		Long: `Write files to standard output, one after the other. Bytes are written as they
arrive; exit status 0 says that all have arrived and their SHA-256 agrees.`,
		Example:           "  efs cat drive:/notes/today.txt\n  efs cat drive:/data.tar | tar x",
		Args:              args(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completePlaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				p, err := a.remotePlace(cmd.Context(), arg)
				if err != nil {
					return err
				}
				if err := writeOut(cmd, p); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func putCommand(a *app) *cobra.Command {
	var o client.PutOptions
	var meta []string
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "put [FILE|-] REMOTE:PATH",
		Short: "Store standard input, or a file, under a path",
		Long: `Store standard input, or a file, under a path. Exit status 0 is the server's
confirmation that the file is on stable storage and has the SHA-256 of what was
sent.`,
		Example: `  pg_dump db | efs put drive:/dumps/db.sql
  efs put scan.png drive:/patients/173/scan.png --type image/png --meta ward=7
  efs put --json report.pdf drive:/report.pdf | jq -r .sha256`,
		Args:              args(cobra.RangeArgs(1, 2)),
		ValidArgsFunction: a.completePlaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.Meta, err = parseMeta(meta); err != nil {
				return err
			}
			in, done, err := input(cmd, args[:len(args)-1])
			if err != nil {
				return err
			}
			defer done()
			p, err := a.remotePlace(cmd.Context(), args[len(args)-1])
			if err != nil {
				return err
			}
			bar := progress.New(cmd.ErrOrStderr(), sizeOf(in), p.String(), quiet)
			o.Progress = bar.Add
			stored, err := p.Client.Put(cmd.Context(), p.Path, in, o)
			bar.Finish()
			if err != nil || !asJSON {
				return err
			}
			return printJSON(cmd, stored)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Type, "type", "", "content type (default: told from the name)")
	f.StringArrayVar(&meta, "meta", nil, "metadata KEY=VALUE to keep with it; may be repeated")
	f.StringVar(&o.IfMatch, "if-match", "", "only over the version with this ETag")
	f.BoolVarP(&o.IfNoneMatch, "no-clobber", "n", false, "only where nothing is yet")
	f.BoolVar(&asJSON, "json", false, "print the server's confirmation as JSON")
	f.BoolVarP(&quiet, "quiet", "q", false, "no progress bar")
	return cmd
}

// input opens what is to be stored.
func input(cmd *cobra.Command, args []string) (in io.Reader, done func(), err error) {
	if len(args) == 0 || args[0] == stdio {
		return cmd.InOrStdin(), func() {}, nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		_ = f.Close()
		return nil, nil, fmt.Errorf("%s is a directory: copy it with efs cp -r", args[0])
	}
	return f, func() { _ = f.Close() }, nil // read only
}

func parseMeta(given []string) (map[string]string, error) {
	meta := map[string]string{}
	for _, kv := range given {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, usageError{fmt.Errorf("--meta %q is not of the form KEY=VALUE", kv)}
		}
		meta[k] = v
	}
	return meta, nil
}

func rmCommand(a *app) *cobra.Command {
	var recursive, force bool
	cmd := &cobra.Command{
		Use:               "rm REMOTE:PATH…",
		Short:             "Remove files and directories",
		Long:              "Remove files and empty directories; with -r, directories with all below them.",
		Example:           "  efs rm drive:/notes/old.txt\n  efs rm -r drive:/notes",
		Args:              args(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completePlaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(cmd, args, func(arg string) error {
				p, err := a.remotePlace(cmd.Context(), arg)
				if err != nil {
					return err
				}
				if recursive {
					err = p.Client.RemoveAll(cmd.Context(), p.Path)
				} else {
					err = p.Client.Remove(cmd.Context(), p.Path, client.RemoveOptions{})
				}
				if errors.Is(err, client.ErrNotEmpty) && !recursive {
					return fmt.Errorf("%s is a directory and not empty: remove it with all below it by rm -r", p)
				}
				if force && errors.Is(err, client.ErrNotFound) {
					return nil
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "directories with all below them")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "what is not there is no error")
	return cmd
}

func mvCommand(a *app) *cobra.Command {
	var o client.MoveOptions
	cmd := &cobra.Command{
		Use:   "mv REMOTE:SRC… REMOTE:DST",
		Short: "Rename or move files and directories within a file system",
		Long: `Rename or move files and directories within a file system, each in one step:
others see it at one place, never at both or neither.`,
		Example:           "  efs mv drive:/a.txt drive:/b.txt\n  efs mv drive:/2025/a.pdf drive:/2025/b.pdf drive:/archive/",
		Args:              args(cobra.MinimumNArgs(2)),
		ValidArgsFunction: a.completePlaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			to, err := a.remotePlace(ctx, args[len(args)-1])
			if err != nil {
				return err
			}
			srcs := args[:len(args)-1]
			into := strings.HasSuffix(to.Path, "/")
			if e, err := to.Client.Stat(ctx, to.Path); err == nil && e.IsDir() {
				into = true
			}
			if len(srcs) > 1 && !into {
				return usageError{fmt.Errorf("%s is not a directory: several sources need one to go into", to)}
			}
			return each(cmd, srcs, func(arg string) error {
				from, err := a.remotePlace(ctx, arg)
				if err != nil {
					return err
				}
				if from.Remote != to.Remote {
					return usageError{fmt.Errorf("%s and %s are different file systems: copy with efs cp, then remove", from, to)}
				}
				target := to.Path
				if into {
					target = strings.TrimSuffix(to.Path, "/") + "/" + lastName(from.Path)
				}
				return from.Client.Move(ctx, from.Path, target, o)
			})
		},
	}
	cmd.Flags().BoolVarP(&o.NoOverwrite, "no-clobber", "n", false, "fail where something is there already")
	return cmd
}

func lastName(path string) string {
	path = strings.TrimSuffix(path, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}

func mkdirCommand(a *app) *cobra.Command {
	var parents bool
	cmd := &cobra.Command{
		Use:               "mkdir REMOTE:PATH…",
		Short:             "Make directories",
		Long:              "Make directories. Files do not need it: storing a file makes the directories above it.",
		Example:           "  efs mkdir drive:/notes\n  efs mkdir -p drive:/notes/2026/11",
		Args:              args(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completePlaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return each(cmd, args, func(arg string) error {
				p, err := a.remotePlace(ctx, arg)
				if err != nil {
					return err
				}
				if parents {
					return mkdirAll(cmd, p.Client, p.Path)
				}
				return p.Client.Mkdir(ctx, p.Path, client.MkdirOptions{})
			})
		},
	}
	cmd.Flags().BoolVarP(&parents, "parents", "p", false, "directories above it too; what is there already is no error")
	return cmd
}

// mkdirAll makes what is missing of a path, from the top.
func mkdirAll(cmd *cobra.Command, c *client.Client, path string) error {
	ctx := cmd.Context()
	if e, err := c.Stat(ctx, path); err == nil && e.IsDir() {
		return nil
	}
	made := ""
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		made += "/" + part
		err := c.Mkdir(ctx, made, client.MkdirOptions{})
		if errors.Is(err, client.ErrExists) {
			e, serr := c.Stat(ctx, made)
			if serr == nil && e.IsDir() {
				continue
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// each does something to each argument, goes on after failures and tells of
// each.
func each(cmd *cobra.Command, args []string, do func(arg string) error) error {
	failed := 0
	for _, arg := range args {
		err := do(arg)
		if err == nil {
			continue
		}
		if len(args) == 1 || cmd.Context().Err() != nil {
			return err
		}
		failed++
		fmt.Fprintln(cmd.ErrOrStderr(), "efs:", plain.Error(err))
	}
	if failed > 0 {
		return errReported
	}
	return nil
}
