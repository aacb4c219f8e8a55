package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/salvage"
	"github.com/efs-project/efs/internal/secret"
	"github.com/spf13/cobra"
)

// volume recovers a file system from where it lies.
func (o *options) volume(cmd *cobra.Command) (err error) {
	o.run.From = salvage.Source(o.from)
	switch {
	case o.place.Name == "":
		return usage("name the file system with --fs")
	case !efs.ValidFSName(o.place.Name):
		return usage("%q cannot be the name of a file system", o.place.Name)
	case o.place.Root == "" && (o.place.Files == "" || o.place.Keys == "" && o.keyBackup == "" || o.place.System == "" && o.place.Index == "" && o.run.Checkpoint == ""):
		return usage("name the server's root with --root")
	case !slices.Contains([]salvage.Source{salvage.Auto, salvage.Index, salvage.Journal, salvage.Trailers}, o.run.From):
		return usage("--from knows auto, index, journal and contents")
	}
	done, err := o.serverDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	keys, err := o.openKeys(cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	out, err := o.open(cmd)
	if err != nil {
		return err
	}
	shown := newBar(cmd.ErrOrStderr(), o.quiet)
	o.run.Progress = shown.add
	o.run.Note = func(text string) { shown.say("efs-recover: %s", plain.Printable(cmd.ErrOrStderr(), text)) }
	o.run.Missing = func(m salvage.Missing) { shown.say("missing: %s", plain.Escaped(m.String())) }
	rep, err := salvage.Run(cmd.Context(), o.place, keys, out, o.run)
	shown.clear()
	if err = out.finish(err); err != nil {
		return err
	}
	out.bare(cmd.ErrOrStderr())
	if err := o.writeReport(rep); err != nil {
		return err
	}
	return conclude(cmd, rep)
}

func (o *options) openKeys(cmd *cobra.Command) (*salvage.Keys, error) {
	server := o.place.Server
	c := salvage.Credentials{KeyBackup: o.keyBackup}
	var err error
	if o.recoveryKey != "" {
		if c.Recovery, err = readIdentity(o.recoveryKey); err != nil {
			return nil, err
		}
	}
	if c.Starter, err = o.starterKey(cmd.Context(), server); err != nil {
		return nil, err
	}
	return salvage.OpenKeys(cmd.Context(), o.place, c)
}

func (o *options) fromShares(server string) (*secret.Key, error) {
	return salvage.StarterFromShares(server, o.shares)
}

// conclude says what came of it.
func conclude(cmd *cobra.Command, r salvage.Report) error {
	say := func(format string, args ...any) {
		fmt.Fprintf(cmd.ErrOrStderr(), "efs-recover: "+format+"\n", args...)
	}
	say("%s, %s, %s, %d bytes", count(r.Files, "file", "files"), count(r.Directories, "directory", "directories"),
		count(r.Symlinks, "symbolic link", "symbolic links"), r.Bytes)
	if r.Recovered > 0 {
		say("%d of the files are known by their contents alone: they are below %s/", r.Recovered, r.RecoveredIn)
	}
	if r.Forgotten > 0 {
		say("%d entries or contents were forgotten on purpose, and are left out", r.Forgotten)
	}
	if len(r.Missing) > 0 {
		say("%d are missing, in whole or part", len(r.Missing))
		return errMissing
	}
	return nil
}

// count writes a number with what there is so many of.
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
