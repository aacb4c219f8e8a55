package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
)

// Options are what an index can be told. The zero value is what servers use.
type Options struct {
	// Reserve is how many bytes of the file are kept for transactions that
	// give back, so that deletes work on a full disk. 0: 8 MiB.
	Reserve int64
	// Segment is how long segments of the log become, in bytes, a multiple of
	// 4096. 0: 4 MiB.
	Segment int
	// Quiet is after how long a time without a commit the log is put into the
	// file. 0: a second.
	Quiet time.Duration
	// CompactAbove is how many bytes of the file must be free, and a third of
	// it, before it is compacted. 0: 64 MiB.
	CompactAbove int64
	// Fault, in tests, is asked before each step that changes the volume
	// ("grow", "sync", "commit", "flush", "log create", "log write",
	// "log sync", "log revoke", "compact", "copy", "switch", "switched",
	// "snapshot"); an
	// error takes the step's place.
	Fault func(step string) error
}

const (
	defaultReserve = 8 << 20
	defaultSegment = 4 << 20
	defaultQuiet   = time.Second

	// firstSegment is how long they are at first: each time one has been
	// filled, the next one made is twice as long.
	firstSegment = 256 << 10

	// bytesPerOperation sizes a generation's table: it is full with its
	// segment if operations are this long, as those of a store of 4 KiB are.
	// More in one generation would cost memory when it is put into the file,
	// as bbolt holds each page that it changes.
	bytesPerOperation = 1024
)

func (o *Options) setDefaults() {
	if o.Reserve == 0 {
		o.Reserve = defaultReserve
	}
	if o.Segment == 0 {
		o.Segment = defaultSegment
	}
	if o.CompactAbove == 0 {
		o.CompactAbove = compactAbove
	}
	if o.Quiet == 0 {
		o.Quiet = defaultQuiet
	}
	if o.Fault == nil {
		o.Fault = func(string) error { return nil }
	}
}

// Index is an efs.Index in a bbolt file with a log in front of it.
type Index struct {
	sealer     efs.HeadSealer
	fault      func(step string) error
	quietAfter time.Duration

	mu      sync.Mutex    // guards what follows
	work    *sync.Cond    // signals queue and closing
	queue   []*request    // not yet taken up
	closing bool          // no new requests
	stopped error         // why nothing is committed any more
	head    efs.Head      // of the last commit
	changed chan struct{} // closed by the next commit with changes

	follower *following // nil: none
	untold   *told      // confirmed, and the follower does not know of it yet
	toldAll  *sync.Cond // signals that untold is nil

	gate    sync.Mutex    // guards what follows; held for moments only
	store   *store        // the file
	gens    []*generation // what the file may not have yet, newest first
	visible uint64        // the last operation in them that readers see
	spare   []*generation // free ones
	resting bool          // free ones have no memory
	full    bool          // the file has no room for the oldest of gens

	// The committer's.
	log     *wal
	active  *generation // the first of gens, or none
	op      uint64      // the last operation
	want    int64       // how long the next segment should be
	quiet   *time.Timer
	watched bool // the timer runs

	lastCommit time.Time

	writer  sync.Mutex       // held by whoever writes to the file
	copying *compaction      // guarded by writer
	frozen  chan *generation // for the flusher
	moved   chan struct{}    // it has got on
	drained chan struct{}    // closed when it has returned
	halted  chan struct{}    // closed when stopped is set
	closed  chan struct{}    // closed when the index is closing
	ended   chan struct{}    // closed when the committer has returned

	// wedged is closed when bbolt has panicked with its locks held, as it does
	// where somebody overwrites the file's first pages while it is open.
	// Nothing may ask it for anything then, not even to close. Readers begin
	// under gate, so that none waits for a lock that nobody gives back; only
	// committer and flusher, and a reader that ends at that very moment, can be
	// caught by that, and nobody waits for them.
	wedged chan struct{}
	wedge  sync.Once

	imaging sync.Mutex // held by who makes a file for a snapshot

	compactAbove  int64 // free bytes
	compactor     sync.Mutex
	compacting    atomic.Bool
	compactFailed time.Time      // of whoever has set compacting
	background    sync.WaitGroup // compactions, begun while not closing

	commits, transactions, refused, flushes, compactions atomic.Uint64

	batches [len(efs.IndexStats{}.Batches)]atomic.Uint64
}

var _ efs.Index = (*Index)(nil)

var (
	errClosed = fmt.Errorf("index is closed: %w", efs.ErrStopped)
	errHalted = errors.New("index has stopped")
	errFull   = fmt.Errorf("index file cannot grow: make room on its volume: %w", efs.ErrNoSpace)
	errWedged = damaged("index file was overwritten while open: put it back from a backup and restart the server")
)

// start begins to serve an opened index. gens is what its log holds beyond the
// file, oldest first.
func start(st *store, log *wal, gens []*generation, head efs.Head, sealer efs.HeadSealer, opts Options) *Index {
	x := &Index{
		sealer:     sealer,
		fault:      opts.Fault,
		quietAfter: opts.Quiet,

		compactAbove: opts.CompactAbove,

		head:    head,
		changed: make(chan struct{}),
		store:   st,
		log:     log,
		want:    min(firstSegment, log.size),
		frozen:  make(chan *generation, maxSegments),
		moved:   make(chan struct{}, 1),
		drained: make(chan struct{}),
		halted:  make(chan struct{}),
		closed:  make(chan struct{}),
		ended:   make(chan struct{}),
		wedged:  make(chan struct{}),
	}
	x.work, x.toldAll = sync.NewCond(&x.mu), sync.NewCond(&x.mu)
	var taken [maxSegments]bool
	for _, g := range gens {
		taken[g.segment] = true
		x.gens = slices.Insert(x.gens, 0, g)
		x.op += uint64(g.table.used - 1)
		x.frozen <- g
	}
	x.visible = x.op
	for i := maxSegments - 1; i >= 0; i-- { // the first is taken first
		if !taken[i] {
			x.spare = append(x.spare, &generation{segment: i})
		}
	}
	go x.run()
	go x.flusher()
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
	x.gate.Lock()
	st := x.store
	pending := int64(0)
	for _, g := range x.gens {
		pending += g.pending.Load()
	}
	x.gate.Unlock()
	size := st.room.size.Load()
	free := int64(st.db.Stats().FreeAlloc)
	_ = x.view(context.Background(), func(s *snapshot) error { // a closed index has no end to tell of
		free += max(0, size-s.file.tx.Size())
		return nil
	})
	out := efs.IndexStats{
		Commits:      x.commits.Load(),
		Transactions: x.transactions.Load(),
		Refused:      x.refused.Load(),
		SizeBytes:    size,
		FreeBytes:    free,
		LogBytes:     x.log.bytes(),
		PendingBytes: pending,
		Flushes:      x.flushes.Load(),
		Compactions:  x.compactions.Load(),
	}
	for i := range out.Batches {
		out.Batches[i] = x.batches[i].Load()
	}
	return out
}

// Close finishes what has been queued, puts everything into the file and
// releases it. Later calls return nil. An index that has stopped leaves in the
// log what the file does not have.
func (x *Index) Close() error {
	x.mu.Lock()
	first, stopped := !x.closing, x.stopped != nil
	x.closing = true
	if first {
		close(x.closed)
	}
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
	cause := x.stopped
	x.mu.Unlock()
	if x.isWedged() {
		letGo(x.current().room.file)
		return nil
	}
	x.log.close()
	x.gate.Lock()
	st := x.store
	if !st.retired {
		x.retireStore(st)
	}
	x.gate.Unlock()
	<-st.closed
	x.releaseAll() // the last reader has ended
	if st.err != nil && !errors.Is(st.err, os.ErrClosed) {
		return fmt.Errorf("close index: %w", st.err)
	}
	if !stopped && cause != nil {
		return fmt.Errorf("close index: %w", cause)
	}
	return nil
}

// releaseAll gives back all memory of a closed index.
func (x *Index) releaseAll() {
	x.gate.Lock()
	defer x.gate.Unlock()
	for _, g := range slices.Concat(x.gens, x.spare) {
		g.release()
	}
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
