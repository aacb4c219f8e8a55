package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/bytesize"
	"github.com/efs-project/efs/internal/connect"
	"github.com/efs-project/efs/internal/remotes"
	"github.com/efs-project/efs/internal/version"
)

// cleanupTime bounds how long the removal of what was stored may take, after
// an interrupt too.
const cleanupTime = 5 * time.Minute

// settings are what the command was called with.
type settings struct {
	remote, path   string
	mode, sizeText string
	size           int64
	clients, files int
	duration       time.Duration
	asJSON         bool
	passphraseFile string
}

func newRoot() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "efs-bench --remote NAME",
		Short: "Measure how fast an EFS file system stores and reads files",
		Long: `efs-bench stores and reads files of one size in a file system, many at once,
and tells how many a second it did and how long each took.

It logs in as efs does; NAME is a name given with "efs remote add". It works in
a directory of its own below --path and removes it at the end. A file counts as
stored when the server has confirmed that it is on stable storage and has the
SHA-256 of what was sent; as read when all of it has come and has the SHA-256
that the server keeps. Files are incompressible.

Ctrl-C ends the measurement, and shows what was measured until then.

Exit status: 0 all was done, 1 something failed or was interrupted, 2 the command was not understood.

Environment:
  EFS_PASSPHRASE_FILE  a file with the passphrase of the key, for scripts
  XDG_CONFIG_HOME      where efs/remotes.toml lies (default: ~/.config)`,
		Example: `  efs-bench --remote drive
  efs-bench --remote drive --mode read --size 1MiB --clients 8 --duration 1m
  efs-bench --remote drive --mode mixed --path /scratch --json > result.json`,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("%q is too much: name the file system with --remote", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(); err != nil {
				return usageError{err}
			}
			return measure(cmd, &s)
		},
	}
	cmd.SetVersionTemplate("efs-bench {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (efs-bench --help tells more)", err)}
	})
	f := cmd.Flags()
	f.StringVar(&s.remote, "remote", "", "file system, by its `NAME` from \"efs remote add\"")
	f.StringVar(&s.path, "path", "/", "directory in which to work")
	f.StringVar(&s.mode, "mode", "store", "store, read or mixed (as many of each)")
	f.StringVar(&s.sizeText, "size", "4KiB", "size of each file: 4096, 64KiB, 10MiB, 1GiB")
	f.IntVar(&s.clients, "clients", 16, "files that are stored or read at once, each on a connection of its own")
	f.DurationVar(&s.duration, "duration", 30*time.Second, "how long to measure")
	f.IntVar(&s.files, "files", 100, "files that reads choose from; they are stored first")
	f.BoolVar(&s.asJSON, "json", false, "print the result as JSON")
	f.StringVar(&s.passphraseFile, "passphrase-file", "", "file with the passphrase of the key, instead of asking")
	// It fails only for a flag that there is not.
	_ = cmd.RegisterFlagCompletionFunc("remote", remotes.Complete)
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions(modes, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

var modes = []string{"store", "read", "mixed"}

// maxClients is how many connections the client package keeps.
const maxClients = 256

// check finds out what cannot be meant before anything is done.
func (s *settings) check() error {
	var size bytesize.Size
	if err := size.UnmarshalText([]byte(s.sizeText)); err != nil {
		return fmt.Errorf("--size: %w", err)
	}
	s.size = int64(size)
	switch {
	case s.remote == "":
		return errors.New("--remote is missing: the file system's name (efs remote list shows them)")
	case !slices.Contains(modes, s.mode):
		return fmt.Errorf("--mode %q: there are %s", s.mode, strings.Join(modes, ", "))
	case s.clients < 1 || s.clients > maxClients:
		return fmt.Errorf("--clients %d: at least 1, at most %d", s.clients, maxClients)
	case s.duration <= 0:
		return fmt.Errorf("--duration %s: it must be longer than nothing", s.duration)
	case s.files < 1:
		return fmt.Errorf("--files %d: reads need at least one", s.files)
	}
	return nil
}

func (s *settings) options() (connect.Options, error) {
	all, err := remotes.Load()
	if err != nil {
		return connect.Options{}, err
	}
	r, ok := all.Remotes[s.remote]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(all.Remotes)), ", ")
		if known == "" {
			known = "none yet; `efs remote add` gives a file system a name"
		}
		return connect.Options{}, usageError{fmt.Errorf("there is no remote %q; there are: %s", s.remote, known)}
	}
	return r.Options(s.passphraseFile), nil
}

// measure does all of a run: log in, prepare, measure, clean up, tell.
func measure(cmd *cobra.Command, s *settings) (err error) {
	ctx := cmd.Context()
	o, err := s.options()
	if err != nil {
		return err
	}
	c, err := connect.Dial(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	dir := path.Join("/", s.path, "efs-bench-"+strings.ToLower(rand.Text()[:10]))
	if err := mustBeDir(ctx, c, s.path); err != nil {
		return err
	}
	made := false
	defer func() {
		if !made && ctx.Err() == nil {
			return // it was refused
		}
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		if e := c.RemoveAll(late, dir); e != nil && !errors.Is(e, client.ErrNotFound) {
			err = errors.Join(err, fmt.Errorf("removing %s: %w", dir, e))
		}
	}()
	if err := c.Mkdir(ctx, dir, client.MkdirOptions{}); err != nil {
		return err
	}
	made = true
	l := newLoad(c, s, dir)
	patient, cancel := graceful(ctx)
	defer cancel()
	if err := l.prepare(ctx, patient); err != nil {
		return err
	}
	show := newProgress(os.Stderr, s)
	l.run(ctx, patient, show)
	show.end()
	res := l.result()
	if s.asJSON {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(res)
	} else {
		err = res.print(cmd.OutOrStdout(), o)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && l.firstError() != nil {
		err = fmt.Errorf("%d requests failed, the first with: %w", res.errors(), l.firstError())
	}
	return err
}

// mustBeDir keeps a mistyped --path from becoming a directory.
func mustBeDir(ctx context.Context, c *client.Client, dir string) error {
	dir = path.Join("/", dir)
	if dir == "/" {
		return nil
	}
	e, err := c.Stat(ctx, dir)
	if err == nil && !e.IsDir() {
		err = fmt.Errorf("--path %s is no directory", dir)
	}
	return err
}

// grace is how long requests that are under way at an interrupt may still take.
// What ends before that cannot store a file behind the back of the cleaning up.
const grace = 5 * time.Second

// graceful returns a context that ends some time after ctx.
func graceful(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(grace):
			cancel()
		case <-late.Done():
		}
	})
	return late, func() { stop(); cancel() }
}
