package archive

import (
	"archive/tar"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/counted"
)

// Writer writes the tar of an archive. It is used by one goroutine. What
// anybody may take for an archive is there only after Close.
type Writer struct {
	tar  *tar.Writer
	out  counted.Writer
	mark string
	next int64 // number of the next member
}

// NewWriter writes the head of an archive to w. It writes in pieces of 512
// bytes and of what is given to Write: w should be buffered.
func NewWriter(w io.Writer, info Info) (*Writer, error) {
	a := &Writer{out: counted.Writer{W: w}, mark: rand.Text()}
	info.mark = a.mark
	line, err := info.line()
	if err != nil {
		return nil, fmt.Errorf("writing the head of an archive: %w", err)
	}
	a.tar = tar.NewWriter(&a.out)
	h := &tar.Header{Typeflag: tar.TypeXGlobalHeader, Format: tar.FormatPAX, PAXRecords: map[string]string{"comment": line}}
	if err := a.tar.WriteHeader(h); err != nil {
		return nil, fmt.Errorf("writing the head of an archive: %w", err)
	}
	return a, nil
}

// Removed writes what an incremental archive removes: paths below its root, or
// "." for everything. It comes before all members.
func (w *Writer) Removed(paths []string) error {
	if w.next != 0 {
		return errors.New("the list of what is removed comes before the members")
	}
	if len(paths) == 0 {
		return nil
	}
	list := strings.Join(paths, "\x00") + "\x00"
	if err := w.Member(&Member{Name: removedName, Kind: efs.KindFile, Size: int64(len(list)), Removed: true}); err != nil {
		return err
	}
	_, err := io.WriteString(w, list)
	return err
}

// Member begins a member. The Size bytes of a file are written by Write or
// ReadFrom before the next one. Directories come before what is in them.
func (w *Writer) Member(m *Member) error {
	if err := w.tar.Flush(); err != nil {
		return fmt.Errorf("writing %q: %w", m.Name, err)
	}
	h, err := m.header(place{w.mark, w.out.N, w.next}.String())
	if err != nil {
		return err
	}
	if err := w.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("writing the header of %q: %w", m.Name, err)
	}
	w.next++
	return nil
}

// Write writes contents of the file begun last.
func (w *Writer) Write(p []byte) (int, error) { return w.tar.Write(p) }

// Close ends the archive. It does not close what it was written to.
func (w *Writer) Close() error {
	if err := w.tar.Close(); err != nil {
		return fmt.Errorf("ending the archive: %w", err)
	}
	return nil
}
