package journal

import (
	"sync"
	"time"

	"github.com/efs-project/efs"
)

// The bounds of what the tap keeps.
const (
	tapFull  = 4 << 20  // bytes at which the keeper is called at once
	tapLimit = 32 << 20 // bytes; more is a gap
	tapSpare = 1 << 20  // bytes that an idle buffer may have
)

// tap is the follower of an index: it keeps what is committed until the keeper
// takes it. It never waits for the keeper but for the moment of an exchange of
// buffers, which is never in the middle of a commit.
type tap struct {
	mu     sync.Mutex // held by the index in the middle of a commit
	inside bool       // the index holds it; the index's alone
	enc    encoder
	since  time.Time // when the oldest commit in enc was made, or the gap began; zero: nothing is there
	clock  func() time.Time

	some chan struct{} // there is something
	full chan struct{} // there is much
}

func newTap(clock func() time.Time) *tap {
	return &tap{enc: encoder{limit: tapLimit}, clock: clock, some: make(chan struct{}, 1), full: make(chan struct{}, 1)}
}

func (t *tap) enter() {
	if !t.inside {
		t.mu.Lock()
		t.inside = true
	}
}

// Put, Delete, Queue and Unqueue keep what a commit does.
func (t *tap) Put(k efs.Key, version uint64, sealed []byte) { t.enter(); t.enc.Put(k, version, sealed) }

// Delete: see Put.
func (t *tap) Delete(k efs.Key) { t.enter(); t.enc.Delete(k) }

// Queue: see Put.
func (t *tap) Queue(r efs.Release) { t.enter(); t.enc.Queue(r) }

// Unqueue: see Put.
func (t *tap) Unqueue(r efs.Release) { t.enter(); t.enc.Unqueue(r) }

// Committed ends a commit.
func (t *tap) Committed(before uint64, h efs.Head) {
	t.enter()
	was := t.enc.gap
	t.enc.Committed(before, h)
	first := t.since.IsZero()
	if first {
		t.since = t.clock()
	}
	full := t.enc.gap != was || len(t.enc.buf) >= tapFull
	t.inside = false
	t.mu.Unlock()
	if first {
		signal(t.some)
	}
	if full {
		signal(t.full)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// taken is what the tap had.
type taken struct {
	items []byte
	cuts  []int    // where they can be cut into chunks
	head  efs.Head // after them
	gap   bool     // commits after items were not kept
	since time.Time
}

// take exchanges the buffer for an empty one. After a gap, nothing is kept until
// resume.
func (t *tap) take(empty []byte) taken {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := taken{items: t.enc.buf, cuts: t.enc.cuts, head: t.enc.head, gap: t.enc.gap, since: t.since}
	t.enc.buf, t.enc.whole, t.enc.cuts = empty[:0], 0, nil
	if !t.enc.gap {
		t.since = time.Time{}
	}
	return out
}

// resume ends a gap, or begins at a head: the next commit is kept. It returns
// the head that this goes on from.
func (t *tap) resume() efs.Head {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.enc.buf, t.enc.whole, t.enc.cuts, t.enc.gap, t.since = t.enc.buf[:0], 0, nil, false, time.Time{}
	return t.enc.head
}

// refuse keeps nothing until resume.
func (t *tap) refuse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.enc.gap = true
	t.enc.buf, t.enc.whole, t.enc.cuts = nil, 0, nil
}

// waiting returns since when something waits to be taken, zero for nothing.
func (t *tap) waiting() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.since
}
