package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/salvage"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// output is where things go: a Sink, and what makes it last.
type output struct {
	salvage.Sink
	file *os.File // that a tar is written to, if it is one of ours
	path string   // under which it appears when it is whole
}

// open makes ready what -o names, and changes nothing that is there.
func (o *options) open(cmd *cobra.Command) (*output, error) {
	switch {
	case o.list:
		return &output{Sink: &lister{out: cmd.OutOrStdout()}}, nil
	case o.out == "" || o.out == "-":
		if f, ok := cmd.OutOrStdout().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return nil, usage("a tar is nothing for a terminal: name a file or directory with -o, or > FILE; -t lists")
		}
		return &output{Sink: &salvage.TarSink{W: cmd.OutOrStdout()}}, nil
	case slices.Contains([]string{".gz", ".tgz", ".zst", ".xz", ".bz2", ".zip"}, filepath.Ext(o.out)):
		return nil, usage("'%s': what comes out is a plain tar, FILE.tar, or a directory", o.out)
	case !strings.HasSuffix(o.out, ".tar"):
		return &output{Sink: &salvage.DirSink{Path: o.out}}, nil
	}
	if _, err := os.Lstat(o.out); err == nil {
		return nil, fmt.Errorf("'%s' %w: nothing is overwritten, name another file", o.out, efs.ErrExists)
	}
	f, err := os.OpenFile(o.out+".part", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("'%s.part' %w: another run is writing it, or left it: delete it then", o.out, efs.ErrExists)
	}
	if err != nil {
		return nil, err
	}
	return &output{Sink: &salvage.TarSink{W: f}, file: f, path: o.out}, nil
}

// finish gives the file its name if err is nil, else removes it.
func (w *output) finish(err error) error {
	if w.file == nil {
		return err
	}
	if err == nil {
		err = w.file.Sync()
	}
	if err = errors.Join(err, w.file.Close()); err != nil {
		return errors.Join(err, os.Remove(w.path+".part"))
	}
	return os.Rename(w.path+".part", w.path)
}

// bare says what of a directory's files the file system there did not keep.
func (w *output) bare(to io.Writer) {
	dir, ok := w.Sink.(*salvage.DirSink)
	if !ok {
		return
	}
	metadata, unset, why := dir.Bare()
	if metadata > 0 {
		fmt.Fprintf(to, "efs-recover: content type and metadata of %d were not kept: the file system takes no such extended attributes\n", metadata)
	}
	if unset > 0 {
		fmt.Fprintf(to, "efs-recover: permissions or times of %d were not set: %s\n", unset, plain.Printable(to, why.Error()))
	}
}

// lister is a Sink that prints a line for each member.
type lister struct{ out io.Writer }

func (l *lister) Begin(archive.Info) error { return nil }
func (l *lister) Close() error             { return nil }

func (l *lister) Member(m *archive.Member, _ func(io.Writer) error) error {
	kind, name := "-", m.Name
	switch m.Kind {
	case efs.KindDir:
		kind, name = "d", name+"/"
	case efs.KindSymlink:
		kind, name = "l", name+" -> "+m.Target
	}
	mode := "  - "
	if m.Mode != 0 {
		mode = fmt.Sprintf("%04o", m.Mode)
	}
	_, err := fmt.Fprintf(l.out, "%s %s %12d %s %s\n", kind, mode, m.Size, m.Modified.Local().Format(time.DateTime), plain.Escaped(name))
	return err
}

// writeReport writes v as JSON to the file that --report names.
func (o *options) writeReport(v any) error {
	if o.report == "" {
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.report, append(b, '\n'), 0o600)
}
