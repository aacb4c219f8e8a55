package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/mirror"
	"github.com/efs-project/efs/internal/progress"
	"github.com/efs-project/efs/internal/stage"
	"github.com/efs-project/efs/internal/transfer"
)

// stdio stands for standard input or output in place of a file.
const stdio = "-"

type cpFlags struct {
	plan        transfer.PlanOptions
	workers     int
	noOverwrite bool
	quiet       bool
	verbose     bool
	sync        syncFlags
}

func cpCommand(a *app) *cobra.Command {
	var f cpFlags
	cmd := &cobra.Command{
		Use:   "cp SRC… DST",
		Short: "Copy files to, from and between file systems",
		Long: `Copy files to, from and between file systems.

The rules are those of cp(1): several sources go into a directory; a directory
(-r) goes into DST if that is a directory, and becomes DST if it is not there
yet. Directories above a file in a file system are made as needed. "-" is
standard input or output.

A receiver sees each file whole or not at all: what is downloaded gets its name
only when all of it has arrived, its SHA-256 agrees with the one the server
keeps, and it is on stable storage. What cannot be copied is reported, the rest
goes on, and the exit status is 1.` + syncHelp,
		Example: `  efs cp ./Doc.pdf drive:/Documents/
  efs cp -r ./Documents drive:/
  efs cp -r drive:/Documents ./backup
  efs cp a.txt b.txt drive:/notes/
  pg_dump db | efs cp - drive:/dumps/db.sql
  efs cp drive:/a other:/b
  efs cp --sync ./Documents drive:/Documents
  efs cp --sync --no-delete drive:/Documents ~/Documents
  efs cp --sync --delete --exclude '*.tmp' --exclude /build/ --dry-run . drive:/project
  efs cp --sync --watch ./inbox drive:/inbox`,
		Args:              args(cobra.MinimumNArgs(2)),
		ValidArgsFunction: a.completePlaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.sync.check(cmd, args); err != nil {
				return err
			}
			if f.sync.sync {
				if !cmd.Flags().Changed("parallel") {
					f.workers = mirror.DefaultWorkers
				}
				return a.runSync(cmd, args[0], args[1], &f)
			}
			return a.cp(cmd, args[:len(args)-1], args[len(args)-1], f)
		},
	}
	fl := cmd.Flags()
	fl.BoolVarP(&f.plan.Recursive, "recursive", "r", false, "copy directories with all below them")
	fl.BoolVarP(&f.plan.Dereference, "dereference", "L", false, "copy what symbolic links in a tree point to")
	fl.BoolVarP(&f.noOverwrite, "no-clobber", "n", false, "leave files alone that are there already")
	fl.IntVar(&f.workers, "parallel", transfer.DefaultWorkers, "files that travel at once (with --sync: 32)")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress bar")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "name each file that was copied")
	f.sync.add(fl)
	return cmd
}

func (a *app) cp(cmd *cobra.Command, srcs []string, dst string, f cpFlags) error {
	ctx := cmd.Context()
	if dst == stdio || len(srcs) == 1 && srcs[0] == stdio {
		return a.cpStdio(cmd, srcs, dst, f)
	}
	to, err := a.place(ctx, dst)
	if err != nil {
		return err
	}
	var from []transfer.Place
	for _, s := range srcs {
		if s == stdio {
			return usageError{fmt.Errorf("standard input (-) can only be copied alone")}
		}
		p, err := a.place(ctx, s)
		if err != nil {
			return err
		}
		from = append(from, p)
	}
	plan, err := transfer.Make(ctx, from, to, f.plan)
	if err != nil {
		return err
	}
	return carryOut(cmd, plan, f)
}

// carryOut runs a plan under a progress bar.
func carryOut(cmd *cobra.Command, plan *transfer.Plan, f cpFlags) error {
	bar := progress.New(cmd.ErrOrStderr(), plan.Bytes, describe(plan), f.quiet)
	for _, err := range plan.Skipped {
		bar.Say("efs: %v", err)
	}
	if plan.Parts > 0 {
		bar.Say("efs: %s: %s", stage.Temporaries, stage.LeftOut(plan.Parts))
	}
	res, err := transfer.Run(cmd.Context(), plan, transfer.Options{
		Workers: f.workers, NoOverwrite: f.noOverwrite, Progress: bar.Add,
		Failed: func(it transfer.Item, err error) {
			if cmd.Context().Err() == nil { // who interrupts efs need not be told of each file
				bar.Say("efs: copying %s to %s: %v", it.Source(), it.Target(), err)
			}
		},
		Copied: func(it transfer.Item) {
			if f.verbose {
				bar.Say("%s -> %s", it.Source(), it.Target())
			}
		},
	})
	bar.Finish()
	if err != nil {
		return err
	}
	if left := res.Failed + len(plan.Skipped); left > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "efs: %d of %d not copied\n", left, len(plan.Items)+len(plan.Skipped))
		return errReported
	}
	return nil
}

func describe(p *transfer.Plan) string {
	if p.Files == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", p.Files)
}

// cpStdio copies one file from standard input or to standard output.
func (a *app) cpStdio(cmd *cobra.Command, srcs []string, dst string, f cpFlags) error {
	if len(srcs) != 1 || srcs[0] == dst {
		return usageError{fmt.Errorf("standard input or output (-) takes exactly one other file")}
	}
	if dst == stdio {
		from, err := a.remotePlace(cmd.Context(), srcs[0])
		if err != nil {
			return err
		}
		return writeOut(cmd, from)
	}
	to, err := a.remotePlace(cmd.Context(), dst)
	if err != nil {
		return err
	}
	return putFrom(cmd, cmd.InOrStdin(), to, client.PutOptions{IfNoneMatch: f.noOverwrite}, f.quiet)
}

// putFrom stores what r delivers, under a progress bar.
func putFrom(cmd *cobra.Command, r io.Reader, to transfer.Place, o client.PutOptions, quiet bool) error {
	bar := progress.New(cmd.ErrOrStderr(), sizeOf(r), to.String(), quiet)
	defer bar.Finish()
	o.Progress = bar.Add
	_, err := to.Client.Put(cmd.Context(), to.Path, r, o)
	return err
}

// sizeOf returns the length of a regular file, -1 of anything else.
func sizeOf(r io.Reader) int64 {
	if f, ok := r.(*os.File); ok {
		if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
			return fi.Size()
		}
	}
	return -1
}

// writeOut writes a file to standard output.
func writeOut(cmd *cobra.Command, from transfer.Place) error {
	body, err := from.Client.Get(cmd.Context(), from.Path)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(cmd.OutOrStdout(), body)
	return err
}
