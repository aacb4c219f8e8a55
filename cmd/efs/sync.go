package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/efs-project/efs/internal/mirror"
	"github.com/efs-project/efs/internal/syncstate"
	"github.com/efs-project/efs/internal/transfer"
	"github.com/efs-project/efs/internal/treesync"
)

const syncHelp = `

With --sync, DST becomes what SRC is: both are directories, and what is in SRC
comes to be in DST itself, in either direction or from drive to drive. Only what
differs travels, told by size and SHA-256; permissions, times and symbolic links
come along. What was cut off goes on where it ended.

What both sides were when they were last in step is remembered (under
$XDG_STATE_HOME/efs/sync, see --no-state), whichever way they were copied. So a
file that only DST has changed is kept, and one that both have changed is a
conflict: it is reported and left alone, and the exit status is 1. The first
time there is nothing to remember: then SRC replaces what differs in DST, but
what is newer in DST is a conflict. --force lets SRC win everywhere.

Nothing is deleted without --delete. With it goes what SRC no longer has, if it
was there when both were last in step and DST has not changed it since; the
first time, all that SRC does not have. Nothing is deleted if SRC is empty or
cannot be read as a whole.

Patterns are those of gitignore(5), the last that fits decides; what they leave
out is neither copied nor deleted. Devices, sockets and pipes are passed by and
told, which is no failure.`

// syncFlags are the flags that go with --sync alone.
type syncFlags struct {
	sync, watch, dryRun, asJSON       bool
	delete, noDelete, force, checksum bool
	removeSource, noState             bool
	filter                            treesync.Filter
	names                             []string
}

func (f *syncFlags) add(fl *pflag.FlagSet) {
	own := pflag.NewFlagSet("sync", pflag.ContinueOnError)
	own.BoolVar(&f.sync, "sync", false, "make DST what SRC is; copy only what differs")
	own.BoolVar(&f.delete, "delete", false, "with --sync: delete in DST what SRC no longer has")
	own.BoolVar(&f.noDelete, "no-delete", false, "with --sync: delete nothing (the default)")
	own.BoolVar(&f.dryRun, "dry-run", false, "with --sync: only tell what would be done")
	own.BoolVar(&f.force, "force", false, "with --sync: overwrite and delete also what would be kept or a conflict")
	own.BoolVar(&f.checksum, "checksum", false, "with --sync: read every file, whatever its times say")
	own.BoolVar(&f.removeSource, "remove-source", false, "with --sync: remove files in SRC when DST has confirmed their digest")
	own.BoolVar(&f.noState, "no-state", false, "with --sync: remember nothing, and go on with nothing remembered")
	own.BoolVar(&f.watch, "watch", false, "with --sync: stay, and follow SRC as it changes, until Ctrl-C")
	own.BoolVar(&f.asJSON, "json", false, "with --sync: print what was done as one JSON document")
	own.Var(&pattern{f: &f.filter}, "exclude", "with --sync: leave out what fits this `PATTERN`")
	own.Var(&pattern{f: &f.filter, include: true}, "include", "with --sync: take back what fits this `PATTERN`, as !PATTERN does")
	own.Var(&patternFile{f: &f.filter}, "filter-from", "with --sync: read patterns from `FILE`, one a line")
	own.VisitAll(func(x *pflag.Flag) { f.names = append(f.names, x.Name) })
	fl.AddFlagSet(own)
}

// pattern adds to a filter, in the order in which flags are given.
type pattern struct {
	f       *treesync.Filter
	include bool
}

func (p *pattern) String() string { return "" }
func (p *pattern) Type() string   { return "PATTERN" }
func (p *pattern) Set(s string) error {
	if p.include {
		s = "!" + s
	} else if strings.HasPrefix(s, "#") {
		s = `\` + s // no comments on the command line
	}
	return p.f.Add(s)
}

type patternFile struct{ f *treesync.Filter }

func (p *patternFile) String() string { return "" }
func (p *patternFile) Type() string   { return "FILE" }
func (p *patternFile) Set(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return p.f.Read(file)
}

// check refuses flags that do not go together.
func (f *syncFlags) check(cmd *cobra.Command, args []string) error {
	with := ""
	for _, name := range f.names {
		if name != "sync" && cmd.Flags().Changed(name) {
			with = name
		}
	}
	refuse := func(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }
	switch {
	case !f.sync && with != "":
		return refuse("--%s goes with --sync only", with)
	case !f.sync:
		return nil
	case len(args) != 2:
		return refuse("--sync takes one SRC and one DST, both directories")
	case args[0] == stdio || args[1] == stdio:
		return refuse("--sync takes directories, not standard input or output (-)")
	case f.delete && f.noDelete:
		return refuse("--delete and --no-delete exclude each other")
	case f.delete && f.removeSource:
		return refuse("--remove-source and --delete exclude each other: what was removed in SRC would be deleted in DST the next time")
	case f.watch && (f.dryRun || f.removeSource):
		return refuse("--watch goes with neither --dry-run nor --remove-source")
	}
	for _, name := range []string{"no-clobber", "dereference"} {
		if cmd.Flags().Changed(name) {
			return refuse("--%s does not go with --sync", name)
		}
	}
	return nil
}

// runSync makes one tree follow another.
func (a *app) runSync(cmd *cobra.Command, src, dst string, f *cpFlags) error {
	ctx := cmd.Context()
	from, err := a.place(ctx, src)
	if err != nil {
		return err
	}
	to, err := a.place(ctx, dst)
	if err != nil {
		return err
	}
	o, err := syncOptions(from, to, f)
	if err != nil {
		return err
	}
	rep := newSyncReport(cmd, from, to, f)
	o.Expect, o.Progress, o.Tell = rep.expect, rep.progress, rep.tell
	m, err := mirror.Open(o)
	if errors.Is(err, syncstate.ErrBusy) {
		return fmt.Errorf("%s and %s: %w: wait for it, or end it", from, to, err)
	}
	if err != nil {
		return err
	}
	defer m.Close()
	if f.sync.watch {
		err = m.Watch(ctx)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // that is how watching ends
		}
	} else {
		err = m.Once(ctx)
	}
	return rep.finish(m.Result(), err)
}

func syncOptions(from, to transfer.Place, f *cpFlags) (mirror.Options, error) {
	o := mirror.Options{
		From: from, To: to, Filter: &f.sync.filter, Delete: f.sync.delete, Force: f.sync.force, DryRun: f.sync.dryRun,
		Checksum: f.sync.checksum, RemoveSource: f.sync.removeSource, Workers: f.workers,
	}
	if from.Client == nil && to.Client == nil {
		return o, usageError{fmt.Errorf("%s and %s are both on this machine: use rsync; a file system is written as REMOTE:/path (efs remote list)", from, to)}
	}
	names := [2]string{}
	for i, p := range []transfer.Place{from, to} {
		if p.Client != nil {
			names[i] = mirror.RemotePair(p.Client.URL(), p.Client.Bucket(), p.Path)
			continue
		}
		var err error
		if names[i], err = mirror.LocalPair(p.Path); err != nil {
			return o, err
		}
	}
	for i, p := range names {
		if strings.HasPrefix(strings.TrimRight(names[1-i], "/")+"/", strings.TrimRight(p, "/")+"/") {
			return o, usageError{fmt.Errorf("%s and %s are one, or one is in the other", from, to)}
		}
	}
	// A directory on this machine is first, whichever way is copied.
	o.Pair, o.Backward = names, from.Client != nil && (to.Client == nil || names[1] < names[0])
	if o.Backward {
		o.Pair[0], o.Pair[1] = names[1], names[0]
	}
	if f.sync.noState {
		return o, nil
	}
	var err error
	o.StateDir, err = syncstate.Dir()
	return o, err
}

// seconds rounds a duration for people and scripts.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
