package mirror

import (
	"bytes"
	"sync"
	"time"

	"github.com/efs-project/efs/internal/syncstate"
	"github.com/efs-project/efs/internal/treesync"
)

func stat(s treesync.Stamp) syncstate.Stat {
	return syncstate.Stat{Size: s.Size, Modified: s.Modified, Changed: s.Changed, Inode: s.Inode}
}

// memory is a state seen from the direction of this run.
type memory struct {
	mu       sync.Mutex
	s        *syncstate.State
	backward bool // the source is the pair's second
	flushed  time.Time
	pending  int
}

// base returns what both sides were when they were last in step.
func (m *memory) base(path string) *treesync.Base {
	r := m.s.Get(path)
	if r == nil || r.Base == nil {
		return nil
	}
	b := &treesync.Base{Kind: treesync.Kind(r.Base.Kind), Size: r.Base.Size, Target: r.Base.Target, Source: r.Base.A, Dest: r.Base.B}
	copy(b.Digest[:], r.Base.Digest)
	if m.backward {
		b.Source, b.Dest = b.Dest, b.Source
	}
	return b
}

// inStep remembers that both sides have the content of n. source and dest are
// their versions; a side without any is on this machine.
func (m *memory) inStep(n *treesync.Node, source, dest string) {
	b := syncstate.Base{Kind: uint8(n.Kind), Size: n.Size, Target: n.Target, A: source, B: dest}
	if n.Digest.Known() {
		b.Digest = n.Digest[:]
	}
	if m.backward {
		b.A, b.B = b.B, b.A
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if have := m.s.Get(n.Path); have != nil && have.Base != nil && equal(have.Base, &b) {
		return
	}
	b.Digest = bytes.Clone(b.Digest)
	m.update(n.Path, func(r *syncstate.Record) { r.Base = &b })
}

func equal(a, b *syncstate.Base) bool {
	return a.Kind == b.Kind && a.Size == b.Size && a.Target == b.Target && a.A == b.A && a.B == b.B && bytes.Equal(a.Digest, b.Digest)
}

// gone forgets what is on neither side any more, or no longer in step.
func (m *memory) gone(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.update(path, func(r *syncstate.Record) { *r = syncstate.Record{Path: path} })
}

// known fills in the digests of local files that have not been touched since
// they were read.
func (m *memory) known(nodes []treesync.Node) {
	for i := range nodes {
		n := &nodes[i]
		if n.Kind != treesync.File {
			continue
		}
		if r := m.s.Get(n.Path); r != nil && r.Read.Holds(stat(n.Stamp)) {
			copy(n.Digest[:], r.Read.Digest)
		}
	}
}

// read remembers the digest of a local file as of the moment at.
func (m *memory) read(path string, s treesync.Stamp, d treesync.Digest, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.update(path, func(r *syncstate.Record) {
		r.Read = &syncstate.Read{Stat: stat(s), At: at.UnixNano(), Digest: bytes.Clone(d[:])}
	})
}

// uploading remembers an upload in parts under way, "" that there is none.
func (m *memory) uploading(path string, s treesync.Stamp, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.update(path, func(r *syncstate.Record) {
		r.Upload = nil
		if id != "" {
			r.Upload = &syncstate.Upload{Stat: stat(s), ID: id}
		}
	})
	m.flush()
}

// outdated forgets, and returns, the upload that was begun of a file that is
// another now; "" for none.
func (m *memory) outdated(path string, s treesync.Stamp) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.s.Get(path)
	if r == nil || r.Upload == nil || r.Upload.Stat == stat(s) {
		return ""
	}
	id := r.Upload.ID
	m.update(path, func(r *syncstate.Record) { r.Upload = nil })
	return id
}

// upload returns the upload that was begun of a file that is still the same.
func (m *memory) upload(path string, s treesync.Stamp) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.s.Get(path); r != nil && r.Upload != nil && r.Upload.Stat == stat(s) {
		return r.Upload.ID
	}
	return ""
}

// Records are written when there are many of them, or the last time is long
// ago: a run that is killed has then little to look at again.
const (
	flushRecords = 500
	flushAfter   = time.Second
)

func (m *memory) update(path string, change func(*syncstate.Record)) {
	m.s.Update(path, change)
	m.pending++
	if m.pending >= flushRecords || time.Since(m.flushed) > flushAfter {
		m.flush()
	}
}

// flush writes what is to be remembered. That it cannot be written is told at
// the end, by Finish.
func (m *memory) flush() {
	_ = m.s.Flush() // what was not written stays to be written
	m.pending, m.flushed = 0, time.Now()
}

// absent drops what neither listing has, and returns it.
func (m *memory) absent(source, dest []treesync.Node) (dropped []*syncstate.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.allThere(source) {
		return nil
	}
	there := make(map[string]bool, len(source)+len(dest))
	for _, nodes := range [][]treesync.Node{source, dest} {
		for i := range nodes {
			there[nodes[i].Path] = true
		}
	}
	m.s.Paths(func(p string) {
		if !there[p] {
			dropped = append(dropped, m.s.Get(p))
		}
	})
	for _, r := range dropped {
		m.update(r.Path, func(n *syncstate.Record) { *n = syncstate.Record{Path: r.Path} })
	}
	return dropped
}

// part remembers the name of what has arrived of a file, "" that there is
// none, and returns the one before.
func (m *memory) part(path, name string) (before string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.s.Get(path); r != nil {
		before = r.Part
	}
	if before != name {
		m.update(path, func(r *syncstate.Record) { r.Part = name })
		m.flush()
	}
	return before
}

// allThere reports whether as many paths of the listing are remembered as
// there are memories, so that none is of anything else.
func (m *memory) allThere(nodes []treesync.Node) bool {
	n := 0
	for i := range nodes {
		if m.s.Get(nodes[i].Path) != nil {
			n++
		}
	}
	return n == m.s.Len()
}
