package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/efs-project/efs"
	"go.etcd.io/bbolt"
)

// Options are what an index can be told. The zero value is what servers use.
type Options struct {
	// Reserve is how many bytes of the file are kept for transactions that
	// give back, so that deletes work on a full disk. 0: 8 MiB.
	Reserve int64
	// Fault, in tests, is asked before each step that changes the volume
	// ("grow", "sync", "commit"); an error takes the step's place.
	Fault func(step string) error
}

const defaultReserve = 8 << 20

// Index is an efs.Index in one bbolt file.
type Index struct {
	db     *bbolt.DB
	sealer efs.HeadSealer
	room   *room
	values []byte // the committer's: see pass.alloc

	mu      sync.Mutex    // guards what follows
	work    *sync.Cond    // signals queue and closing
	queue   []*request    // not yet taken up
	closing bool          // no new requests
	stopped error         // why nothing is committed any more
	head    efs.Head      // of the last commit
	changed chan struct{} // closed by the next commit with changes

	ended chan struct{} // closed when the committer has returned

	// wedged is closed when bbolt has panicked with its locks held, as it does
	// where somebody overwrites the file's first pages while it is open.
	// Nothing may ask it for anything then, not even to close. Readers begin
	// and end under gate, so that none waits for a lock that nobody gives
	// back; only the committer can be caught by that, and nobody waits for it.
	wedged chan struct{}
	wedge  sync.Once
	gate   sync.Mutex

	commits, transactions, refused atomic.Uint64
}

var _ efs.Index = (*Index)(nil)

var (
	errClosed = fmt.Errorf("index is closed: %w", efs.ErrStopped)
	errWedged = damaged("index file was overwritten while open: put it back from a backup and restart the server")
)

// start begins to serve an opened index.
func start(db *bbolt.DB, room *room, head efs.Head, sealer efs.HeadSealer) *Index {
	x := &Index{
		db:      db,
		sealer:  sealer,
		room:    room,
		head:    head,
		changed: make(chan struct{}),
		ended:   make(chan struct{}),
		wedged:  make(chan struct{}),
	}
	x.work = sync.NewCond(&x.mu)
	go x.run()
	return x
}

// Head returns the last committed head.
func (x *Index) Head(ctx context.Context) (efs.Head, error) {
	if err := ctx.Err(); err != nil {
		return efs.Head{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closing {
		return efs.Head{}, errClosed
	}
	return x.head, nil
}

// Committed returns a channel that is closed at the next commit that adds
// changes, and when the index is closed, so that no follower waits for ever.
func (x *Index) Committed() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closing {
		return closedChannel
	}
	return x.changed
}

var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Err is nil, or why the index stopped. It wraps efs.ErrStopped.
func (x *Index) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.stopped != nil:
		return x.stopped
	case x.closing:
		return errClosed
	}
	return nil
}

// Stats describes size and work since the index was opened.
func (x *Index) Stats() efs.IndexStats {
	size := x.room.size.Load()
	free := int64(x.db.Stats().FreeAlloc)
	_ = x.view(context.Background(), func(tx *bbolt.Tx) error { // a closed index has no end to tell of
		free += max(0, size-tx.Size())
		return nil
	})
	return efs.IndexStats{
		Commits:      x.commits.Load(),
		Transactions: x.transactions.Load(),
		Refused:      x.refused.Load(),
		SizeBytes:    size,
		FreeBytes:    free,
	}
}

// Close finishes what has been queued and releases the file. Later calls
// return nil.
func (x *Index) Close() error {
	x.mu.Lock()
	first := !x.closing
	x.closing = true
	x.work.Broadcast()
	x.mu.Unlock()
	select {
	case <-x.ended:
	case <-x.wedged:
	}
	if !first {
		return nil
	}
	x.mu.Lock()
	close(x.changed)
	x.changed = make(chan struct{}) // for a committer that is still under way
	x.mu.Unlock()
	if x.isWedged() {
		letGo(x.room.file)
		return nil
	}
	if err := x.db.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close index: %w", err)
	}
	return nil
}

func (x *Index) setWedged() { x.wedge.Do(func() { close(x.wedged) }) }

func (x *Index) isWedged() bool {
	select {
	case <-x.wedged:
		return true
	default:
		return false
	}
}
