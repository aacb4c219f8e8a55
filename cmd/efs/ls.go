package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/browse"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/transfer"
)

func lsCommand(a *app) *cobra.Command {
	var long, recursive, asJSON bool
	cmd := &cobra.Command{
		Use:   "ls REMOTE:[PATH]…",
		Short: "List directories",
		Long: `List directories, one name a line; names of directories end in a slash.
Characters that could deceive a terminal are shown as '?' on one.`,
		Example: `  efs ls drive:
  efs ls -l drive:/Documents
  efs ls -R drive:/Documents
  efs ls --json drive:/Documents | jq -r .path`,
		Args:              args(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completePlaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			for i, arg := range args {
				p, err := a.remotePlace(cmd.Context(), arg)
				if err != nil {
					return err
				}
				if len(args) > 1 && !asJSON {
					if i > 0 {
						fmt.Fprintln(out)
					}
					fmt.Fprintf(out, "%s:\n", plain.Printable(out, p.String()))
				}
				if err := ls(cmd.Context(), out, p, long, recursive, asJSON); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with mode, size, time of modification, content type, and what symbolic links lead to")
	cmd.Flags().BoolVarP(&recursive, "recursive", "R", false, "everything below, with paths")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

func ls(ctx context.Context, out io.Writer, p transfer.Place, long, recursive, asJSON bool) error {
	entries, err := listOrFile(ctx, p, recursive)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	defer table.Flush()
	for e, err := range entries {
		if err != nil {
			return err
		}
		switch {
		case asJSON:
			err = plain.JSON(out, e, "")
		case long:
			err = printLong(out, table, shownName(p, e, recursive), e)
		default:
			_, err = fmt.Fprintln(out, plain.Printable(out, shownName(p, e, recursive)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func printLong(out, table io.Writer, name string, e client.Entry) error {
	size := "-"
	if !e.IsDir() {
		size = fmt.Sprint(e.Size)
	}
	modified := "-"
	if !e.Modified.IsZero() {
		modified = e.Modified.Local().Format("2006-01-02 15:04:05")
	}
	name = withTarget(&e, name)
	_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", orDash(client.FormatMode(e.Mode)), size, modified, orDash(e.Type), plain.Printable(out, name))
	return err
}

// withTarget adds to the name of a symbolic link what it leads to.
func withTarget(e *client.Entry, name string) string {
	if e.IsSymlink() {
		return name + " -> " + e.Target
	}
	return name
}

// listOrFile lists a directory; a file is a list of itself.
func listOrFile(ctx context.Context, p transfer.Place, recursive bool) (iter.Seq2[client.Entry, error], error) {
	e, err := p.Client.Stat(ctx, p.Path)
	if err != nil {
		return nil, err
	}
	if e.IsDir() {
		return p.Client.List(ctx, p.Path, client.ListOptions{Recursive: recursive}), nil
	}
	return func(yield func(client.Entry, error) bool) { yield(*e, nil) }, nil
}

// shownName is the name, or in a recursive list the path below the directory
// that is listed.
func shownName(p transfer.Place, e client.Entry, recursive bool) string {
	name := e.Name
	if recursive {
		if rel := strings.TrimPrefix(e.Path, strings.TrimSuffix("/"+strings.Trim(p.Path, "/"), "/")+"/"); rel != e.Path {
			name = rel
		}
	}
	if e.IsDir() {
		name += "/"
	}
	return name
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func treeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "tree REMOTE:[PATH]",
		Short:             "Show a directory with all below it",
		Example:           "  efs tree drive:/Documents",
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completePlaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.remotePlace(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintln(out, plain.Printable(out, p.String()))
			t := browse.Tree{Client: p.Client, Out: out, Name: func(e *client.Entry) string {
				return plain.Printable(out, withTarget(e, shownName(p, *e, false)))
			}}
			if err := t.Draw(cmd.Context(), p.Path); err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "\n%s\n", t.Summary())
			return err
		},
	}
}

func statCommand(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "stat REMOTE:PATH…",
		Short:             "Show what is known of files, directories and symbolic links",
		Example:           "  efs stat drive:/Documents/Doc.pdf\n  efs stat --json drive:/Documents/Doc.pdf | jq -r .sha256",
		Args:              args(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completePlaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				p, err := a.remotePlace(cmd.Context(), arg)
				if err != nil {
					return err
				}
				e, err := p.Client.Stat(cmd.Context(), p.Path)
				if err != nil {
					return err
				}
				if asJSON {
					err = plain.JSON(cmd.OutOrStdout(), e, "")
				} else {
					err = printStat(cmd.OutOrStdout(), e)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

func printStat(out io.Writer, e *client.Entry) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s:\t%s\n", name, plain.Printable(out, value))
		}
	}
	line("Path", e.Path)
	line("Kind", e.Kind)
	line("Target", e.Target)
	if e.Kind == "file" {
		line("Size", fmt.Sprint(e.Size))
	}
	line("Mode", client.FormatMode(e.Mode))
	if !e.Modified.IsZero() {
		line("Modified", e.Modified.UTC().Format(time.RFC3339))
	}
	line("Type", e.Type)
	line("SHA-256", e.SHA256)
	line("ETag", e.ETag)
	for _, k := range sortedKeys(e.Meta) {
		line("Meta "+k, e.Meta[k])
	}
	return w.Flush()
}
