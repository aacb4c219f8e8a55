package fsys

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/efs-project/efs"
)

// Cause follows a request that changes something to its commit. The change has
// Origin from then on, in the same sync, so that the request's line in the
// audit log need not be waited for. It is used by one goroutine at a time.
type Cause struct {
	Origin efs.Origin
	Begun  func() // hands over the line at once, since what was begun with Seq may go on for long; may be nil

	at   time.Time // of the commit of seq
	seq  uint64    // of the change that has Origin; 0: nothing was committed yet
	era  *era      // that the commit was begun in; nil: ended
	eras *eras
}

// Seq is the number of the change that tells of the request; 0 while nothing
// was committed.
func (t *Cause) Seq() uint64 { return t.seq }

// Done tells that the line of the request has been handed to the audit log.
// Again, or without a commit, it does nothing.
func (t *Cause) Done() {
	if t.era != nil {
		t.eras.leave(t.era)
		t.era = nil
	}
}

// What goes on for longer after a first commit, or is about to move so many
// bytes, has a line of its own for that: nobody is to wait for its end.
const (
	causeTime  = time.Second
	causeBytes = 64 << 20
)

// goingOn is called by what needs several transactions, before one that moves
// so many bytes.
func (w *Who) goingOn(bytes int64) {
	t := w.Cause
	if t != nil && t.era != nil && t.Begun != nil && (bytes > causeBytes || time.Since(t.at) > causeTime) {
		t.Begun()
		t.Done()
	}
}

// caused commits what was built, with the request in its last change.
func (t *txn) caused(ctx context.Context) (efs.Committed, error) {
	r, c := t.cause, t.lastChange
	if r == nil || c == nil {
		return t.finish(ctx)
	}
	c.Origin = &r.Origin
	if t.sealLast(); t.err != nil {
		return efs.Committed{}, t.err
	}
	r.eras = &t.fs.eras
	r.era = r.eras.enter()
	done, err := t.finish(ctx)
	switch {
	case err == nil:
		r.seq, r.at = done.Seq, time.Now()
	case errors.Is(err, efs.ErrStopped):
		r.era = nil // it may yet be committed: nothing from here on counts as recorded until the next start
	default:
		r.Done()
	}
	return done, err
}

// eras tell when all lines of changes up to one have been handed over: those
// of every commit that was begun before it was looked for.
type eras struct {
	mu  sync.Mutex
	now *era
	old []*era // not waited for to the end yet; of who waits alone
}

// era is a while in which commits were begun.
type era struct {
	open  int           // commits whose lines have not been handed over
	over  bool          // no more are begun in it
	empty chan struct{} // closed when it is over and open is 0
}

func newEra() *era { return &era{empty: make(chan struct{})} }

func (e *eras) enter() *era {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now.open++
	return e.now
}

func (e *eras) leave(a *era) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a.open--
	a.end()
}

func (a *era) end() {
	if a.over && a.open == 0 {
		close(a.empty)
	}
}

// wait returns when the line of every commit that was begun before has been
// handed over. One waits at a time.
func (e *eras) wait(ctx context.Context) error {
	e.mu.Lock()
	a := e.now
	e.now = newEra()
	a.over = true
	a.end()
	e.mu.Unlock()
	e.old = append(e.old, a)
	for len(e.old) > 0 {
		select {
		case <-e.old[0].empty:
			e.old = e.old[1:]
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
