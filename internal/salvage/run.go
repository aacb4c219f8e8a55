package salvage

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/seal"
)

// Options say what is recovered, and from what.
type Options struct {
	From       Source // "": Auto
	Checkpoint string // file of a checkpoint to read the tree from
	Path       string // only what lies at or below it; "" or "/": everything
	Orphans    bool   // also what contents tell of that the index does not know
	Scratch    string // directory for a temporary file, sealed records alone; "": the system's

	Missing  func(Missing)     // told at once of what is missing; nil: nobody
	Note     func(text string) // and of what is worth knowing
	Progress func(n int64)     // and of each n bytes of contents
}

// Sink takes what is recovered. A directory comes before what is in it.
type Sink interface {
	// Begin is called once, before the first member.
	Begin(archive.Info) error
	// Member takes a member; write writes its contents, nil for those without.
	// A MemberError is of this member alone.
	Member(m *archive.Member, write func(io.Writer) error) error
	// Close ends what was taken, whole.
	Close() error
}

// MemberError is the error of a Sink that cannot take one member: the others
// go on.
type MemberError struct{ Err error }

func (e *MemberError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrapped.
func (e *MemberError) Unwrap() error { return e.Err }

// job is one run.
type job struct {
	*reader
	o     Options
	state *state
	sink  Sink
	rep   Report
	dirs  map[string]bool // below recovered/ that were written
	taken map[string]bool // names at the top of what came out that begin as recovered/ does
	seen  map[efs.ID]bool // directories that were read, where the tree has holes; else nil
}

// recoveredDir is where what only contents tell of comes out.
const recoveredDir = "recovered"

// Run recovers the file system at p into sink, and reports what came of it. An
// error means that it could not be carried out; what is missing is none.
func Run(ctx context.Context, p Place, k *Keys, sink Sink, o Options) (rep Report, err error) {
	p = p.complete()
	if o.From == "" {
		o.From = Auto
	}
	j := &job{o: o, sink: sink, rep: Report{FS: p.Name, ID: k.ID, Missing: []Missing{}, Notes: []string{}}, dirs: map[string]bool{}, taken: map[string]bool{}}
	for _, text := range k.Notes {
		j.note("%s", text)
	}
	if j.state, err = openState(ctx, p, k, o); err != nil {
		return j.rep, err
	}
	defer func() { err = errors.Join(err, j.state.close()) }()
	for _, text := range j.state.notes {
		j.note("%s", text)
	}
	j.note("%s", j.state)
	for _, m := range j.state.lacks {
		j.missing(m)
	}
	b, err := openBlobs(p.Files)
	if err != nil {
		return j.rep, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if j.reader, err = newReader(k, j.state, b); err != nil {
		return j.rep, err
	}
	j.rep.Source, j.rep.Sequence = j.state.from, j.state.head.Seq
	if j.state.head.Time != 0 {
		j.rep.Time = time.UnixMicro(j.state.head.Time).UTC()
	}
	if err := j.run(ctx); err != nil {
		return j.rep, err
	}
	j.rep.Whole = j.state.whole && len(j.rep.Missing) == 0
	return j.rep, sink.Close()
}

func (j *job) run(ctx context.Context) error {
	root := strings.Trim(j.o.Path, "/")
	info := archive.Info{FS: j.rep.FS, FSID: j.rep.ID.String(), Path: "/" + root, Sequence: j.rep.Sequence, Created: time.Now()}
	if err := j.sink.Begin(info); err != nil {
		return err
	}
	if j.records != nil {
		if j.state.holes {
			j.seen = map[efs.ID]bool{}
		}
		if err := j.tree(ctx, root); err != nil {
			return err
		}
		if j.state.holes && root == "" {
			if err := j.strays(ctx); err != nil {
				return err
			}
		}
	}
	// Who names a checkpoint wants what it has: in the store of a backup there is
	// much else, of other backups.
	if j.o.Orphans || !j.state.whole && j.o.Checkpoint == "" {
		return j.orphans(ctx, root)
	}
	return nil
}

func (j *job) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	j.rep.Notes = append(j.rep.Notes, text)
	if j.o.Note != nil {
		j.o.Note(text)
	}
}

func (j *job) missing(m Missing) {
	j.rep.Missing = append(j.rep.Missing, m)
	if j.o.Missing != nil {
		j.o.Missing(m)
	}
}

// emit hands one member to the sink.
func (j *job) emit(ctx context.Context, name, shown string, e *efs.Entry) error {
	m := member(name, e)
	if !archive.ValidName(name) {
		j.missing(Missing{Path: shown, Why: "it has a name that no archive can hold"})
		return nil
	}
	if top, _, _ := strings.Cut(name, "/"); strings.HasPrefix(top, recoveredDir) {
		j.taken[top] = true
	}
	if e.Kind != efs.KindFile {
		return j.take(shown, m, nil)
	}
	c, err := j.openContent(ctx, e)
	if errors.Is(err, efs.ErrForgotten) {
		j.rep.Forgotten++
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // only read
	if c.gone() {
		j.missing(Missing{Path: shown, Why: why(c.why), Size: c.size})
		return nil
	}
	if m.Lost = c.lost; len(c.lost) > 0 {
		m.Name, m.SHA256 = m.Name+archive.DamagedSuffix, ""
	}
	err = j.take(shown, m, func(w io.Writer) error {
		if j.o.Progress != nil {
			w = &told{w, j.o.Progress}
		}
		return c.writeTo(w)
	})
	if len(c.lost) > 0 {
		j.missing(Missing{Path: shown, Why: why(c.why), Ranges: c.lost, Size: c.size})
	}
	return err
}

// take gives a member to the sink and counts it.
func (j *job) take(shown string, m *archive.Member, write func(io.Writer) error) error {
	err := j.sink.Member(m, write)
	var one *MemberError
	if errors.As(err, &one) {
		j.missing(Missing{Path: shown, Why: "it cannot be written: " + one.Error(), Size: m.Size})
		return nil
	}
	if err != nil {
		return err
	}
	switch m.Kind {
	case efs.KindDir:
		j.rep.Directories++
	case efs.KindSymlink:
		j.rep.Symlinks++
	default:
		j.rep.Files++
		j.rep.Bytes += m.Size
	}
	return nil
}

// told tells of what is written.
type told struct {
	w  io.Writer
	fn func(int64)
}

func (t *told) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	t.fn(int64(n))
	return n, err
}

func member(name string, e *efs.Entry) *archive.Member {
	m := &archive.Member{
		Name: name, Kind: e.Kind, Mode: e.Mode, Modified: time.UnixMicro(e.Modified), Created: time.UnixMicro(e.Created),
		Type: e.Type, Meta: e.Meta, Version: e.Version, Owner: e.Owner,
	}
	switch e.Kind {
	case efs.KindFile:
		m.Size = e.Size
		if e.DigestKind == efs.DigestFull {
			m.SHA256 = hex.EncodeToString(e.Digest)
		}
	case efs.KindSymlink:
		m.Target = e.Target
	}
	return m
}

// why says in words for people why contents do not open.
func why(err error) string {
	switch {
	case errors.Is(err, errOther):
		return errOther.Error()
	case errors.Is(err, efs.ErrNotFound):
		return "its contents are missing"
	case errors.Is(err, seal.ErrTruncated):
		return "its contents are cut off"
	case errors.Is(err, seal.ErrNoKey):
		return "no key that is there opens its contents"
	case errors.Is(err, seal.ErrTampered), errors.Is(err, seal.ErrFormat), errors.Is(err, efs.ErrDamaged):
		return "its contents were altered"
	}
	return err.Error()
}
