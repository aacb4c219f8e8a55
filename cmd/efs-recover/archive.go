package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/salvage"
	"github.com/efs-project/efs/seal"
	"github.com/spf13/cobra"
)

// archiveReport is what --report writes of an archive.
type archiveReport struct {
	FS       string         `json:"fs"`
	Path     string         `json:"path"`
	Sequence uint64         `json:"sequence"`
	Since    uint64         `json:"since"`
	Whole    bool           `json:"whole"`
	Members  int64          `json:"members"`
	Bytes    int64          `json:"bytes"`
	Lost     []archive.Loss `json:"lost"`
}

// archive recovers an archive.
func (o *options) archive(cmd *cobra.Command, name string) (err error) {
	ids, err := o.archiveKeys(cmd.Context())
	if err != nil {
		return err
	}
	r, done, err := o.openArchive(name, ids)
	if err != nil {
		return o.explain(name, err)
	}
	defer done()
	out, err := o.open(cmd)
	if err != nil {
		return err
	}
	shown := newBar(cmd.ErrOrStderr(), o.quiet)
	rep, err := o.copyMembers(cmd, r, out, shown)
	shown.clear()
	rep.Lost = append(rep.Lost, r.Losses()...)
	rep.Whole = err == nil && len(rep.Lost) == 0 && !r.Damaged()
	if err = out.finish(err); err != nil {
		return o.explain(name, err)
	}
	out.bare(cmd.ErrOrStderr())
	if err := o.writeReport(rep); err != nil {
		return err
	}
	for _, l := range rep.Lost {
		fmt.Fprintln(cmd.ErrOrStderr(), "lost:", plain.Escaped(l.String()))
	}
	if !rep.Whole {
		fmt.Fprintf(cmd.ErrOrStderr(), "efs-recover: '%s' is damaged: %d members came out, %d losses\n", name, rep.Members, len(rep.Lost))
		return errMissing
	}
	return nil
}

// openArchive opens the archive in a file, or one that comes in.
func (o *options) openArchive(name string, ids []seal.Identity) (*archive.Reader, func(), error) {
	if name == "-" {
		if o.keepGoing {
			return nil, nil, usage("--keep-going takes a file: save the archive in one")
		}
		r, err := archive.OpenStream(os.Stdin, ids)
		return r, func() { _ = r.Close() }, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	var r *archive.Reader
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: '%s' is not a regular file; - reads standard input", efs.ErrBadInput, name)
	}
	if err == nil {
		r, err = archive.Open(f, info.Size(), ids, archive.Options{KeepGoing: o.keepGoing})
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return r, func() { _, _ = r.Close(), f.Close() }, nil
}

// copyMembers hands all that is left to the sink.
func (o *options) copyMembers(cmd *cobra.Command, r *archive.Reader, out salvage.Sink, shown *bar) (rep archiveReport, err error) {
	info := r.Info()
	rep = archiveReport{FS: info.FS, Path: info.Path, Sequence: info.Sequence, Since: info.Since, Lost: []archive.Loss{}}
	if err := out.Begin(info); err != nil {
		return rep, err
	}
	for {
		if err := cmd.Context().Err(); err != nil {
			return rep, err
		}
		m, err := r.Next()
		if err == io.EOF {
			return rep, out.Close()
		}
		if err != nil {
			return rep, err
		}
		if _, tar := out.(*output).Sink.(*salvage.TarSink); m.Removed && !tar {
			continue // what an incremental archive removes is not there
		}
		if err := o.copyMember(r, m, out, shown, &rep); err != nil {
			return rep, err
		}
	}
}

func (o *options) copyMember(r *archive.Reader, m *archive.Member, out salvage.Sink, shown *bar, rep *archiveReport) error {
	name := m.Name
	if len(m.Lost) > 0 {
		m.Name, m.SHA256 = m.OutName(), ""
	}
	read := false
	write := func(w io.Writer) error {
		read = true
		n, err := io.Copy(w, r)
		shown.add(n)
		return err
	}
	if m.Kind != efs.KindFile {
		write = nil
	}
	err := out.Member(m, write)
	var one *salvage.MemberError
	if errors.As(err, &one) {
		shown.say("missing: %s: it cannot be written: %s", plain.Escaped(name), plain.Printable(shown.out, one.Error()))
		rep.Lost = append(rep.Lost, archive.Loss{Member: name, Ranges: []archive.Range{{From: 0, To: m.Size}}, Size: m.Size})
		err = nil
	} else if err == nil {
		rep.Members++
		rep.Bytes += m.Size
	}
	if err == nil && !read && m.Kind == efs.KindFile { // to be checked, or passed by
		_, err = io.Copy(io.Discard, r)
	}
	return err
}

// explain says what to do about an archive that does not open.
func (o *options) explain(name string, err error) error {
	switch {
	case errors.Is(err, seal.ErrNoKey):
		return fmt.Errorf("'%s': %w: the passphrase is wrong, or it was sealed to other keys", name, err)
	case o.keepGoing || name == "-":
	case errors.Is(err, seal.ErrTampered), errors.Is(err, seal.ErrTruncated):
		return fmt.Errorf("'%s': %w: --keep-going gives what is left, and tells what is lost", name, err)
	}
	return fmt.Errorf("'%s': %w", name, err)
}
