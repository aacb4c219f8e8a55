package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
)

// note is something the log is to say about itself.
type note struct{ op, detail string }

// recovery finds the end of a log from the state that was last kept.
//
// A line that was answered for is whole: it was synced before. So a tail in
// which there is no whole line is what a crash left of lines that nobody was
// told of, and is cut ("audit.torn"). Everything else that does not fit was
// not done by a crash ("audit.damaged"). Either way what is taken out is kept
// in a file of its own.
type recovery struct {
	walker
	dir   string
	now   time.Time
	state *state

	first       uint64 // first line of the file to go on in; 0: begin one
	size, lines int64  // of it
	since       int    // lines since the state was kept
	notes       []note
}

func (r *recovery) note(op, format string, args ...any) {
	r.notes = append(r.notes, note{op, fmt.Sprintf(format, args...)})
}

// walk follows the chain from the state on.
func (r *recovery) walk() error {
	all, err := segments(r.dir)
	if err != nil {
		return err
	}
	start := 0
	for start < len(all) && all[start].first < max(r.state.Segment, 1) {
		start++
	}
	rest := all[start:]
	off, line := int64(0), int64(0)
	if r.state.Segment != 0 {
		off, line = r.state.Offset, r.state.Line
		if len(rest) == 0 || rest[0].first != r.state.Segment || shorter(rest[0].path, off) {
			r.note("audit.damaged", "the log no longer reaches line %d, which was written", r.state.Seq-1)
			return r.setAside(rest, "damaged", 0)
		}
	}
	if r.state.Segment == 0 && len(rest) > 0 && rest[0].first > 1 { // the state was lost, and the beginning is no longer kept
		if err := r.startAt(rest[0]); err != nil {
			return err
		}
	}
	for i, s := range rest {
		if i > 0 && s.first != r.seq {
			r.note("audit.damaged", "file %s does not begin with line %d", filepath.Base(s.path), r.seq)
			return r.setAside(rest[i:], "damaged", 0)
		}
		r.first, r.size, r.lines = s.first, off, line
		if err := r.follow(s); err != nil {
			return r.cutTail(rest[i:], err)
		}
		off, line = 0, 0
	}
	return nil
}

// startAt goes to the first line of a file without having seen those before.
func (r *recovery) startAt(s segment) error {
	l, err := firstLine(s.path)
	if err != nil {
		return err
	}
	prev, err := encoding.DecodeString(l.Prev)
	if err != nil || l.Seq != s.first || len(prev) != len(r.prev) {
		return fmt.Errorf("the first line of %s does not belong there: %w", filepath.Base(s.path), efs.ErrDamaged)
	}
	if err := skip(r.key, s.first-r.seq); err != nil {
		return err
	}
	r.seq = s.first
	copy(r.prev[:], prev)
	return nil
}

func shorter(path string, n int64) bool {
	info, err := os.Stat(path)
	return err != nil || info.Size() < n
}

// follow walks one file from r.size on.
func (r *recovery) follow(s segment) error {
	f, err := os.Open(s.path)
	if err != nil {
		return fmt.Errorf("opening the audit log: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(r.size, io.SeekStart); err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	return lines(f, r.size, r.lines+1, func(l *Line, off int64) error {
		if err := r.step(l); err != nil {
			return err
		}
		r.size = off + int64(len(l.raw))
		r.lines++
		r.since++
		if l.Op == "audit.head" {
			r.since = 0
		}
		return nil
	})
}

// cutTail takes out what follows the last good line.
func (r *recovery) cutTail(rest []segment, why error) error {
	var bad *badLine
	if !errors.As(why, &bad) {
		return why // it could not be read
	}
	tail, err := readFrom(rest[0].path, r.size)
	if err != nil {
		return err
	}
	kind := "torn"
	if len(rest) > 1 || wholeLine(tail) {
		kind = "damaged"
	}
	r.note("audit."+kind, "%d bytes after line %d of %s were taken out (SHA-256 %x): %v", len(tail), r.seq-1, filepath.Base(rest[0].path), sha256.Sum256(tail), bad)
	aside := filepath.Join(r.dir, fmt.Sprintf("%s-%020d-%d", kind, r.seq, r.now.UnixMicro()))
	if err := atomicfile.Write(aside, tail, 0o600); err != nil {
		return fmt.Errorf("keeping what was cut from the audit log: %w", err)
	}
	if err := truncate(rest[0].path, r.size); err != nil {
		return fmt.Errorf("cutting the audit log: %w", err)
	}
	if r.size == 0 && rest[0].first != r.seq {
		return fmt.Errorf("cutting the audit log: file %s is empty and not of line %d", filepath.Base(rest[0].path), r.seq)
	}
	return r.setAside(rest[1:], kind, r.first)
}

// setAside renames files that cannot be gone on from. The next line goes into
// the file of line first; 0: into a new one.
func (r *recovery) setAside(rest []segment, kind string, first uint64) error {
	for _, s := range rest {
		to := filepath.Join(r.dir, fmt.Sprintf("%s-%020d-%d-%s", kind, r.seq, r.now.UnixMicro(), filepath.Base(s.path)))
		if err := os.Rename(s.path, to); err != nil {
			return fmt.Errorf("setting aside a file of the audit log: %w", err)
		}
	}
	if first == 0 {
		r.first, r.size, r.lines = 0, 0, 0
	}
	return atomicfile.SyncDir(r.dir)
}

// compare looks for heads of lines that the log does not reach: it was cut
// back, together with its state. It goes on behind the newest of them.
func (r *recovery) compare(heads []*Line) error {
	var newest *Line
	for _, h := range heads {
		if h.Seq >= r.seq && (newest == nil || h.Seq > newest.Seq) {
			newest = h
		}
	}
	if newest == nil {
		return nil
	}
	r.note("audit.damaged", "the log ends with line %d, but a head of line %d was kept elsewhere: it was cut back", r.seq-1, newest.Seq)
	if err := skip(r.key, newest.Seq+1-r.seq); err != nil {
		return err
	}
	r.link = link{seq: newest.Seq + 1, prev: sha256.Sum256(newest.raw)}
	r.first, r.size, r.lines = 0, 0, 0
	return nil
}

func readFrom(path string, off int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, off, 1<<62))
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return b, nil
}

// wholeLine reports whether there is a line in b that can be taken apart.
func wholeLine(b []byte) bool {
	for raw := range bytes.Lines(b) {
		if _, err := parse(raw); err == nil {
			return true
		}
	}
	return false
}

func truncate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}
