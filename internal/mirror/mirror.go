// Package mirror makes one tree follow another: a directory on this machine, a
// directory in a file system, in either direction, or two file systems. It
// lists both, compares them with what they were the last time (treesync,
// syncstate), and moves only what differs. Whoever looks at the receiving side
// sees each file as it was or as it is to be, never a part of it.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/efs-project/efs/internal/stage"
	"github.com/efs-project/efs/internal/syncstate"
	"github.com/efs-project/efs/internal/transfer"
	"github.com/efs-project/efs/internal/treesync"
)

// DefaultWorkers is how many files travel at once by default: enough of small
// ones to share a commit of the server while others are read.
const DefaultWorkers = 32

// largeAtOnce is how many large files travel at once: more would only take the
// line, and the places that the server has for uploads, from each other.
const largeAtOnce = 4

// Options says what is to follow what, and how.
type Options struct {
	From, To transfer.Place
	// Pair names the two for the memory, in an order that does not depend on the
	// direction; Backward tells that From is the second. StateDir is where it is
	// kept, "" for nowhere.
	Pair     [2]string
	Backward bool
	StateDir string

	Filter       *treesync.Filter
	Delete       bool // delete what is gone at the source
	Force        bool // overwrite and delete what would be kept or a conflict
	DryRun       bool // only tell
	Checksum     bool // read every file, whatever its times say
	RemoveSource bool // remove files at the source when the destination has confirmed them
	Workers      int  // files at once; 0: DefaultWorkers

	// Expect tells how much is going to travel, Progress how much has since the
	// last call; Tell of each thing that was done, or was not. Calls of Tell do
	// not overlap; Progress is called by several goroutines.
	Expect   func(files int, bytes int64)
	Progress func(delta int64)
	Tell     func(Event)
}

// Event is something that was done, or is to be done, or failed.
type Event struct {
	Op    treesync.Op
	Path  string // below the roots; "" where Err names it
	Dir   bool
	Why   string // of what was left alone
	Err   error  // it failed
	Moved bool   // the source was removed
}

// Result counts what a run came to.
type Result struct {
	Copied, Replaced, Attributes, Directories, Deleted, Removed, Unchanged int

	Kept, Conflicts, Skipped, Failed int
	Bytes                            int64 // of the files copied and replaced
}

// Clean reports whether all is as was asked for. Devices, sockets and pipes,
// which nobody can copy, are told and are no failure.
func (r *Result) Clean() bool { return r.Conflicts == 0 && r.Failed == 0 }

// Mirror is two trees, opened.
type Mirror struct {
	o        Options
	src, dst side
	mem      *memory

	large chan struct{} // taken by each large file that travels

	loaded   bool      // the memory was read
	narrowed sync.Once // told that the source does not show everything
	mu       sync.Mutex
	result   Result
	touched  map[string]bool // directories at the destination in which something was done
}

// Open opens both trees and the memory of them. ErrBusy (of syncstate) where
// another process has it.
func Open(o Options) (*Mirror, error) {
	if o.Workers <= 0 {
		o.Workers = DefaultWorkers
	}
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	m := &Mirror{o: o, touched: map[string]bool{}, large: make(chan struct{}, largeAtOnce)}
	state := syncstate.New()
	var err error
	if o.StateDir != "" {
		if state, err = syncstate.Open(o.StateDir, o.Pair[0], o.Pair[1]); err != nil {
			return nil, err
		}
	}
	m.mem = &memory{s: state, backward: o.Backward, flushed: time.Now()}
	if m.src, err = openSide(o.From, true); err == nil {
		m.dst, err = openSide(o.To, false)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func openSide(p transfer.Place, source bool) (side, error) {
	if p.Client != nil {
		return openRemote(p), nil
	}
	l, err := openLocal(p.Path)
	if err == nil {
		l.source = source
	}
	return l, err
}

// Close writes what is to be remembered, and lets go of the trees.
func (m *Mirror) Close() error {
	m.mem.mu.Lock()
	err := errors.Join(m.mem.s.Flush(), m.mem.s.Close())
	m.mem.mu.Unlock()
	for _, s := range []side{m.src, m.dst} {
		if s != nil {
			err = errors.Join(err, s.close())
		}
	}
	return err
}

// Result counts what has been done so far.
func (m *Mirror) Result() Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.result
}

// Once makes the destination follow, as a whole. What fails is told and
// counted, the rest goes on; the error is of what stopped everything.
func (m *Mirror) Once(ctx context.Context) error {
	l, err := m.listAll(ctx)
	if err != nil {
		return err
	}
	m.tellTemporary()
	if err := m.pass(ctx, l); err != nil {
		return err
	}
	if m.o.DryRun {
		return nil
	}
	if !l.incomplete && m.o.Filter.Empty() {
		m.forgetAbsent(ctx, l)
	}
	m.mem.mu.Lock()
	defer m.mem.mu.Unlock()
	return m.mem.s.Finish()
}

// pass compares two listings and does what comes of it.
func (m *Mirror) pass(ctx context.Context, l *listings) error {
	if err := m.readDigests(ctx, l); err != nil {
		return err
	}
	plan, err := treesync.Compare(l.source, l.dest, m.mem.base, treesync.Options{
		Delete: m.o.Delete, Force: m.o.Force, Remembered: m.mem.s.Known(), Incomplete: l.incomplete, Part: l.part,
	})
	if err == nil && l.part && len(plan.Deletions) > 0 && !m.o.Force {
		err = m.stillHolds(ctx)
	}
	if err != nil {
		return err
	}
	if m.o.DryRun {
		m.show(plan)
		return nil
	}
	return m.execute(ctx, l, plan)
}

// stillHolds refuses to delete where the source has become empty: an unmounted
// volume looks like that, also while it is watched.
func (m *Mirror) stillHolds(ctx context.Context) error {
	var ignored bool
	nodes, err := m.listSide(ctx, m.src, "", false, &ignored)
	if err == nil && len(nodes) == 0 {
		err = treesync.ErrEmptySource
	}
	return err
}

// show tells what would be done.
func (m *Mirror) show(plan *treesync.Plan) {
	m.result.Unchanged += plan.Unchanged
	for _, list := range [][]treesync.Action{plan.Actions, plan.Deletions} {
		for i := range list {
			m.done(&list[i], nil)
		}
	}
}

// done counts and tells one action.
func (m *Mirror) done(a *treesync.Action, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := a.Source
	if n == nil {
		n = a.Dest
	}
	ev := Event{Op: a.Op, Path: a.Path, Dir: n.Kind == treesync.Dir, Why: a.Why, Err: err}
	switch {
	case errors.Is(err, errMoved):
		ev.Op, ev.Why, ev.Err = treesync.Conflict, err.Error(), nil
	case errors.Is(err, errNotEmpty):
		ev.Op, ev.Why, ev.Err = treesync.Keep, err.Error(), nil
	}
	m.result.count(&ev, n.Size)
	if m.o.Tell != nil {
		m.o.Tell(ev)
	}
}

func (r *Result) count(ev *Event, size int64) {
	if ev.Err != nil {
		r.Failed++
		return
	}
	switch ev.Op {
	case treesync.Mkdir:
		r.Directories++
	case treesync.Copy:
		r.Copied++
		r.Bytes += size
	case treesync.Replace:
		r.Replaced++
		r.Bytes += size
	case treesync.Attributes:
		r.Attributes++
	case treesync.Delete:
		r.Deleted++
	case treesync.Keep:
		r.Kept++
	case treesync.Conflict:
		r.Conflicts++
	case treesync.Skip:
		r.Skipped++
	}
}

// tellTemporary tells how many files under way the source holds.
func (m *Mirror) tellTemporary() {
	if n := m.src.temporary(); n > 0 && m.o.Tell != nil {
		m.o.Tell(Event{Op: treesync.Skip, Path: stage.Temporaries, Why: stage.LeftOut(n)})
	}
}

// trouble tells of what could not be looked at.
func (m *Mirror) trouble(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := Event{Err: err}
	m.result.count(&ev, 0)
	if m.o.Tell != nil {
		m.o.Tell(ev)
	}
}

// RemotePair names a place in a file system for the memory, the same however
// its path is written.
func RemotePair(url, bucket, path string) string {
	return url + " " + bucket + " /" + strings.Trim(path, "/")
}

// LocalPair names a directory on this machine for the memory, the same before
// and after it was made and by whatever links it is reached.
func LocalPair(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", dir, err)
	}
	for up, rest := abs, ""; ; up, rest = filepath.Dir(up), filepath.Join(filepath.Base(up), rest) {
		if real, err := filepath.EvalSymlinks(up); err == nil {
			return "file:" + filepath.Join(real, rest), nil
		}
		if up == filepath.Dir(up) {
			return "file:" + abs, nil
		}
	}
}
