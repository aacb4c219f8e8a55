package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/keyfile"
	"github.com/efs-project/efs/internal/remotes"
	"github.com/efs-project/efs/seal"
)

// tarFlags is what efs tar was asked for.
type tarFlags struct {
	extract, list bool
	fs, path      string // of a file system: where from or to
	out           string
	to, dir       string
	pass, key     string
	recipients    []string
	since         string
	keepGoing     bool
	noClobber     bool
	force         bool
	asJSON        bool
	quiet         bool
	verbose       bool
	workers       int
}

func tarCommand(a *app) *cobra.Command {
	var f tarFlags
	cmd := &cobra.Command{
		Use:   "tar {--fs REMOTE -o FILE | -t FILE | -x FILE}",
		Short: "Archive a file system, sealed, and restore archives",
		Long: `Archive a file system, or a directory of it, as one sealed file; list archives;
restore them into a directory or a file system.

An archive is the file system as it was after one change, although others go on
writing to it. It is a tar, compressed, and sealed under a passphrase (-p) or to
public keys (-r, see efs keygen); docs/archive.md tells all of it, and efs-recover
turns it into a tar without this program. With --since it holds what changed
since another archive, or since a number in the change log.

Restoring (-x) puts members over what is there, as tar does, or with -n leaves
that alone. An incremental archive first removes what was removed, and so goes only over
what the archive before it restored, which is remembered (in
$XDG_STATE_HOME/efs/tar), or where --force says so. Each file
appears whole or not at all, and nothing comes out that was not authenticated.
An archive that is cut off is refused before anything is done. With --keep-going
all that is left of a damaged one comes out, and what is lost is told: files of
which parts are lost get the ending .efs-damaged, with zeros for what is missing.

"-" is standard input or output. FILE is there only when the archive is whole.

Exit status: 0 all was done, 1 something failed or is lost, 2 the command was not
understood.`,
		Example: `  efs tar --fs drive -o drive.efs.tar.gz.aes -p ./password.txt
  efs tar --fs drive --path /Documents -o docs.efs.tar.gz.aes -r efs1… -r safe.pub
  efs tar --fs drive -o monday.efs.tar.gz.aes -p ./password.txt --since drive.efs.tar.gz.aes
  efs tar -t drive.efs.tar.gz.aes -p ./password.txt
  efs tar -x drive.efs.tar.gz.aes -p ./password.txt -C ./restored
  efs tar -x docs.efs.tar.gz.aes -i safe.key --fs other --to /Documents`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := f.place(cmd); err != nil {
				return usageError{err}
			}
			if err := f.check(given); err != nil {
				return usageError{err}
			}
			switch {
			case f.list:
				return f.listArchive(cmd, given[0])
			case f.extract:
				return a.extractArchive(cmd, given[0], &f)
			}
			return a.makeArchive(cmd, &f)
		},
	}
	f.add(a, cmd)
	return cmd
}

func (f *tarFlags) add(a *app, cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.BoolVarP(&f.extract, "extract", "x", false, "restore an archive")
	fl.BoolVarP(&f.list, "list", "t", false, "list what is in an archive")
	fl.StringVar(&f.fs, "fs", "", "the file system (a remote, see efs remote list)")
	fl.StringVar(&f.path, "path", "/", "the directory that is archived, or a file")
	fl.StringVarP(&f.out, "output", "o", "", "the archive to be made")
	fl.StringVar(&f.to, "to", "/", "with -x and --fs: the directory to restore to, which is made if need be")
	fl.StringVarP(&f.dir, "directory", "C", "", "with -x: the directory to restore to, which is made if need be")
	fl.StringVarP(&f.pass, "passphrase", "p", "", "file whose first line is the passphrase")
	fl.StringArrayVarP(&f.recipients, "recipient", "r", nil, "public key to seal to (efs1…), or a file with such; any one of several opens it")
	fl.StringVarP(&f.key, "identity", "i", "", "file with the private key to open with")
	fl.StringVar(&f.since, "since", "", "only what changed since this archive, which -p or -i opens, or since this sequence number")
	fl.BoolVar(&f.keepGoing, "keep-going", false, "with -t and -x: go on behind damage, and tell what is lost")
	fl.BoolVarP(&f.noClobber, "no-clobber", "n", false, "with -x: leave alone what is there already")
	fl.BoolVar(&f.force, "force", false, "with -x: put an incremental archive also over what the one before it did not restore")
	fl.IntVar(&f.workers, "parallel", 16, "with -x and --fs: files that travel at once")
	fl.BoolVar(&f.asJSON, "json", false, "with -t one JSON object a line, else a report as one")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress bar, no summary")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "name each member that was restored")
	for _, name := range []string{"output", "passphrase", "recipient", "identity", "since"} {
		_ = cmd.MarkFlagFilename(name) // the flags are there
	}
	_ = cmd.MarkFlagDirname("directory")
	_ = cmd.RegisterFlagCompletionFunc("fs", remotes.Complete)
	_ = cmd.RegisterFlagCompletionFunc("path", a.completeBelow(&f.fs))
	_ = cmd.RegisterFlagCompletionFunc("to", a.completeBelow(&f.fs))
}

// place takes --fs REMOTE:/PATH apart, as other commands write it.
func (f *tarFlags) place(cmd *cobra.Command) error {
	name, path, ok := splitRemote(f.fs)
	if !ok {
		return nil
	}
	f.fs = name
	if path == "/" {
		return nil
	}
	if cmd.Flags().Changed("path") || cmd.Flags().Changed("to") {
		return fmt.Errorf("the path is given twice: write --fs %s with --path or --to, or --fs %s:%s alone", name, name, path)
	}
	f.path, f.to = path, path
	return nil
}

// check refuses what does not go together.
func (f *tarFlags) check(given []string) error {
	reading := f.list || f.extract
	switch {
	case f.list && f.extract:
		return errors.New("-t lists and -x restores: give one of them")
	case reading && len(given) == 0:
		return errors.New("which archive? Name its file, or - for standard input")
	case reading && f.pass == "" && f.key == "":
		return errors.New("what opens the archive? Give -p FILE for a passphrase or -i FILE for a private key")
	case reading && (f.out != "" || len(f.recipients) > 0 || f.since != ""):
		return errors.New("-o, -r and --since are for making archives; without -t and -x one is made")
	case f.list && (f.fs != "" || f.dir != ""):
		return errors.New("-t puts nothing anywhere: leave out --fs and -C")
	case f.extract && f.fs != "" && f.dir != "":
		return errors.New("restore into a directory (-C) or into a file system (--fs), not both")
	case f.extract && f.fs == "" && f.dir == "":
		return errors.New("restore where to? Give -C DIR, or --fs REMOTE and --to /PATH")
	case f.force && !f.extract:
		return errors.New("--force is for -x")
	case reading && f.keepGoing && given[0] == stdio:
		return errors.New("--keep-going needs a file: standard input cannot be read twice")
	case reading:
		return nil
	case len(given) > 0:
		return fmt.Errorf("%q is too much: -o names the archive that is made, -t lists and -x restores one", given[0])
	case f.fs == "" || f.out == "":
		return errors.New("an archive is made with --fs REMOTE -o FILE; -t lists and -x restores one")
	case f.pass == "" && len(f.recipients) == 0:
		return errors.New("what is to open the archive? Give -p FILE for a passphrase or -r efs1… for public keys")
	case f.pass != "" && len(f.recipients) > 0:
		return errors.New("a passphrase must be the only thing that opens an archive: give -p or -r, not both")
	case f.keepGoing:
		return errors.New("--keep-going is for -t and -x")
	}
	return nil
}

// identities are what opens an archive.
func (f *tarFlags) identities() (ids []seal.Identity, err error) {
	if f.key != "" {
		id, err := keyfile.ReadIdentity(f.key)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if f.pass != "" {
		pass, err := keyfile.ReadPassphrase(f.pass)
		if err != nil {
			return nil, err
		}
		defer clear(pass)
		ids = append(ids, seal.PassphraseIdentity(pass, seal.Argon2Limits{}))
	}
	return ids, nil
}

// opened is an archive that is read.
type opened struct {
	*archive.Reader
	file *os.File
}

func (o *opened) Close() error {
	err := o.Reader.Close()
	if o.file != nil {
		err = errors.Join(err, o.file.Close())
	}
	return err
}

// open opens an archive. progress is told of what is read.
func (f *tarFlags) open(cmd *cobra.Command, name string, progress func(n int64)) (*opened, error) {
	ids, err := f.identities()
	if err != nil {
		return nil, err
	}
	if name == stdio {
		r, err := archive.OpenStream(cmd.InOrStdin(), ids)
		if err != nil {
			return nil, f.explain("standard input", err)
		}
		return &opened{r, nil}, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	r, err := f.openFile(file, ids, progress)
	if err != nil {
		_ = file.Close() // it was read only
		return nil, f.explain(name, err)
	}
	return &opened{r, file}, nil
}

func (f *tarFlags) openFile(file *os.File, ids []seal.Identity, progress func(n int64)) (*archive.Reader, error) {
	fi, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		if f.keepGoing || fi.IsDir() {
			return nil, fs.ErrInvalid
		}
		return archive.OpenStream(file, ids)
	}
	src := watched{file, progress}
	return archive.Open(src, fi.Size(), ids, archive.Options{KeepGoing: f.keepGoing})
}

// watched tells how much is read.
type watched struct {
	file *os.File
	told func(n int64)
}

func (w watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.file.ReadAt(p, off)
	w.told(int64(n))
	return n, err
}

// explain says what to do about an archive that cannot be read.
func (f *tarFlags) explain(name string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, seal.ErrNoKey) && f.key == "":
		hint = ": wrong passphrase, or an archive that has none"
	case errors.Is(err, seal.ErrNoKey):
		hint = ": it was not sealed to this key"
	case errors.Is(err, seal.ErrTruncated), errors.Is(err, seal.ErrTampered), errors.Is(err, archive.ErrDamaged):
		if !f.keepGoing && (f.list || f.extract) {
			hint = " (--keep-going gets out what is left of it)"
		}
	}
	return fmt.Errorf("%s: %w%s", name, err, hint)
}
