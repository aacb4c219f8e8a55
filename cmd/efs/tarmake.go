package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/counted"
	"github.com/efs-project/efs/internal/keyfile"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/progress"
	"github.com/efs-project/efs/internal/stage"
	"github.com/efs-project/efs/seal"
)

// made tells of an archive that was made.
type made struct {
	Archive  string `json:"archive"`
	FS       string `json:"fs"`
	Path     string `json:"path"`
	Sequence uint64 `json:"sequence"`
	Since    uint64 `json:"since"`
	Members  int64  `json:"members"`
	Bytes    int64  `json:"bytes"`  // of the tar
	Sealed   int64  `json:"sealed"` // of the archive
}

// makeArchive makes an archive.
func (a *app) makeArchive(cmd *cobra.Command, f *tarFlags) error {
	to, err := f.sealTo()
	if err != nil {
		return err
	}
	base, err := f.base()
	if err != nil {
		return err
	}
	c, err := a.session(cmd.Context(), f.fs)
	if err != nil {
		return err
	}
	out, err := archiveOutput(cmd, f.out)
	if err != nil {
		return err
	}
	done, err := f.receive(cmd, c, base, to, out)
	if err != nil {
		out.Abort()
		return err
	}
	if err := out.Commit(); err != nil {
		return fmt.Errorf("writing %s: %w", f.out, err)
	}
	return f.tellMade(cmd, done)
}

// sealTo is who can open the archive.
func (f *tarFlags) sealTo() ([]seal.Recipient, error) {
	if f.pass == "" {
		return keyfile.ParseRecipients(f.recipients)
	}
	pass, err := keyfile.ReadPassphrase(f.pass)
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	r, err := seal.PassphraseRecipient(pass, seal.Argon2Params{})
	return []seal.Recipient{r}, err
}

// base is what --since names: a sequence number, or an archive, of which only
// the head is read.
func (f *tarFlags) base() (archive.Info, error) {
	if f.since == "" {
		return archive.Info{}, nil
	}
	if n, err := strconv.ParseUint(f.since, 10, 64); err == nil {
		return archive.Info{Sequence: n}, nil
	}
	if f.pass == "" && f.key == "" {
		return archive.Info{}, usageError{errors.New("what opens the archive that --since names? Give -i FILE, or a sequence number (efs tar -t shows it)")}
	}
	ids, err := f.identities()
	if err != nil {
		return archive.Info{}, err
	}
	file, err := os.Open(f.since)
	if err != nil {
		return archive.Info{}, fmt.Errorf("--since names neither a sequence number nor an archive: %w", err)
	}
	defer file.Close()
	if err := f.otherFile(file); err != nil {
		return archive.Info{}, err
	}
	r, err := f.openFile(file, ids, func(int64) {})
	if err != nil {
		return archive.Info{}, f.explain(f.since, err)
	}
	defer r.Close()
	return r.Info(), nil
}

// otherFile makes sure that what is made is another file than the archive that
// it goes on from, without which it is worth nothing.
func (f *tarFlags) otherFile(since *os.File) error {
	is, err := since.Stat()
	if err != nil {
		return err
	}
	if out, err := os.Stat(f.out); err == nil && os.SameFile(is, out) {
		return usageError{fmt.Errorf("-o %s would overwrite the archive that --since names, which is needed to restore this one: name another file", f.out)}
	}
	return nil
}

// output is where an archive goes. Exactly one of Commit and Abort ends it.
type output interface {
	io.Writer
	Commit() error
	Abort()
}

func archiveOutput(cmd *cobra.Command, name string) (output, error) {
	if name != stdio {
		return stage.Create(name, 0o666)
	}
	out := cmd.OutOrStdout()
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return nil, usageError{errors.New("an archive is nothing for a terminal: send standard output to a file or a pipe")}
	}
	return toStdout{out}, nil
}

// toStdout is an output that can be taken back only by the exit status.
type toStdout struct{ io.Writer }

func (toStdout) Commit() error { return nil }
func (toStdout) Abort()        {}

// receive seals what the server sends, and makes sure that it is an archive
// from its beginning to its end.
func (f *tarFlags) receive(cmd *cobra.Command, c *client.Client, base archive.Info, to []seal.Recipient, out io.Writer) (*made, error) {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	body, _, err := c.Archive(ctx, client.ArchiveOptions{Path: f.path, Since: base.Sequence})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	w, err := archive.NewSealer(out, to...)
	if err != nil {
		return nil, err
	}
	bar := progress.New(cmd.ErrOrStderr(), -1, f.fs+":"+f.path, f.quiet)
	done, err := follow(body, base, w, bar)
	bar.Finish()
	if err != nil {
		w.Abort()
		return nil, err
	}
	info, err := w.Close(seal.Recovery{})
	if err != nil {
		return nil, err
	}
	done.Archive, done.Sealed = f.out, info.SealedSize
	return done, nil
}

// follow reads the tar that goes by: that it is of what was asked for, and
// whole.
func follow(body io.Reader, base archive.Info, w io.Writer, bar *progress.Bar) (*made, error) {
	passing := &counted.Writer{W: w, Told: bar.Add}
	r, err := archive.OpenTar(io.TeeReader(bufio.NewReaderSize(body, 256<<10), passing))
	if err != nil {
		return nil, fmt.Errorf("the server's answer: %w", err)
	}
	info := r.Info()
	if base.FSID != "" && (info.FSID != base.FSID || info.Path != base.Path) {
		return nil, fmt.Errorf("the archive that --since names is of %s:%s, this one would be of %s:%s: take one of the same, or make a full archive",
			base.FS, base.Path, info.FS, info.Path)
	}
	done := &made{FS: info.FS, Path: info.Path, Sequence: info.Sequence, Since: info.Since}
	last := ""
	for {
		m, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil && last != "" {
			return nil, fmt.Errorf("%w (the last that came was %s: it may be damaged; efs cat tells more)", err, last)
		}
		if err != nil {
			return nil, err
		}
		if !m.Removed {
			done.Members++
			last = m.Name
		}
	}
	done.Bytes = passing.N
	return done, nil
}

// tellMade sums up.
func (f *tarFlags) tellMade(cmd *cobra.Command, m *made) error {
	if f.asJSON && f.out != stdio {
		return plain.JSON(cmd.OutOrStdout(), m, "")
	}
	if f.quiet {
		return nil
	}
	since := ""
	if m.Since > 0 {
		since = fmt.Sprintf(" since change %d", m.Since)
	}
	_, err := fmt.Fprintf(cmd.ErrOrStderr(), "efs: %s:%s as of change %d%s: %d members, %d bytes, sealed in %d\n",
		m.FS, strings.TrimSuffix(m.Path, "\n"), m.Sequence, since, m.Members, m.Bytes, m.Sealed)
	return err
}
