package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	"golang.org/x/time/rate"
)

// ErrUnavailable is the error of a log that cannot be written now. It is also
// an efs.ErrUnavailable.
var ErrUnavailable = fmt.Errorf("the audit log cannot be written: %w", efs.ErrUnavailable)

// Options say where and how a log is kept. Zero fields take the defaults.
type Options struct {
	Dir       string        // holds the log and nothing else
	MaxSize   int64         // of a file, bytes, before the next is begun; default 64 MiB
	KeepAge   time.Duration // older files are removed; 0: none are
	KeepSize  int64         // oldest files are removed while all together are larger, bytes; 0: none are
	Reserve   int64         // space kept allocated ahead, for deletions on a full volume, bytes; default 4 MiB
	HeadLines int           // a head is signed after so many lines; default 1000
	HeadEvery time.Duration // and after so long where there were any; default 10 s

	Apart  HeadStore  // keeps the newest head where it does not go back with the log; nil: nowhere
	Sinks  []HeadSink // get every head that is kept; they are not closed
	Logger *slog.Logger
	Clock  func() time.Time

	open opener // of files; nil: the volume's
}

// HeadStore keeps the newest head apart from the log.
type HeadStore interface {
	PutAuditHead(head []byte) error
	AuditHead() ([]byte, error) // nil: none was kept
}

func (o *Options) defaults() {
	or(&o.MaxSize, 64<<20)
	or(&o.Reserve, 4<<20)
	or(&o.HeadLines, 1000)
	or(&o.HeadEvery, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.open == nil {
		o.open = openFile
	}
}

func or[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// delay is how long an event that nobody waits for may lie in memory.
const delay = 100 * time.Millisecond

// maxQueue bounds what waits to be written, bytes. Beyond it, events that
// nobody waits for are counted instead of kept.
const maxQueue = 8 << 20

// A batch of earlyBatch bytes is written without waiting for delay, so that
// buffers of up to keepBuffer bytes, which are taken again, do for any load.
const (
	earlyBatch = 1 << 20
	keepBuffer = 2 << 20
)

// Log is an open audit log. Its methods are safe for concurrent use. A nil Log
// takes every event and keeps none.
type Log struct {
	o    Options
	box  Box
	root efs.ID
	seed *secret.Key // of the signing key

	mu         sync.Mutex // guards what follows
	batch      *batch     // what comes next
	failed     error      // why nothing more is written, for good
	low        bool       // the volume is full: only deletions are taken
	dropped    uint64     // events that were not kept since the last gap was told
	suppressed uint64     // events of unknown callers beyond the rate
	stats      Stats
	closed     bool
	headWanted bool   // with the next write
	lastHead   []byte // line of the newest head since the start
	endPath    string // file that is written to
	endSize    int64  // of it that is durable
	next       uint64 // line after the last that is durable

	keepAge   atomic.Int64  // Options.KeepAge, as it is now
	underWay  atomic.Int64  // changes that will come to be committed
	strangers *rate.Limiter // of events by callers who are not known
	wake      chan struct{}
	soon      *time.Timer // for events that nobody waits for
	stop      chan struct{}
	tasks     sync.WaitGroup

	w writer // of the writing goroutine alone

	files  sync.RWMutex // held for writing while files are removed
	keeper keeper
}

// batch is what is written and synced together.
type batch struct {
	bodies []byte
	ends   []int  // of each body
	signed []bool // whether its line is signed; nil: none is
	done   chan struct{}
	err    error // set before done is closed
}

// newBatch returns a batch that takes over the buffers of one that was written;
// nil: of none.
func newBatch(old *batch) *batch {
	b := &batch{done: make(chan struct{})}
	if old != nil && cap(old.bodies) <= keepBuffer {
		b.bodies, b.ends = old.bodies[:0], old.ends[:0]
	}
	return b
}

// Stats counts since the log was opened.
type Stats struct {
	Events     uint64 // lines written
	Syncs      uint64 // that made them durable
	Bytes      int64  // of them
	Dropped    uint64 // events that could not be kept
	Suppressed uint64 // events of unknown callers beyond the rate
	Waiting    int    // events taken that are not written yet
	Seq        uint64 // newest line written since the start; 0: none
	HeadSeq    uint64 // line of the newest head since the start; 0: none
	SinkErrors uint64 // heads that could not be handed on
	Low        bool   // the volume is full
}

// body buffers are taken again.
var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// Record takes an event that nobody waits for. It is written within a tenth of
// a second. Where that cannot be, it is counted, and the log says how many are
// missing as soon as it can.
func (l *Log) Record(e Event) {
	if l == nil {
		return
	}
	if e.User == "" && e.From != "" && !l.strangers.Allow() {
		l.mu.Lock()
		l.suppressed++
		l.stats.Suppressed++
		l.mu.Unlock()
		return
	}
	l.add(&e, recorded)
}

// Commit takes an event and returns when it is durable. Its error is an
// ErrUnavailable: the event is not, or not yet, in the log.
func (l *Log) Commit(ctx context.Context, e Event) error {
	if l == nil {
		return nil
	}
	b, err := l.add(&e, awaited)
	if err != nil {
		return err
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// Hand takes the event of a change that is durable elsewhere, together with all
// that its line says: nobody waits for the line, unless too much is waiting
// already. An error means that the line is to be made of that change later.
func (l *Log) Hand(e *Event) error {
	if l == nil {
		return nil
	}
	b, err := l.add(e, handed)
	if err != nil || b == nil {
		return err
	}
	<-b.done
	return b.err
}

// Begin tells that a change is under way whose event will be committed, and End
// that it is over. They let many changes share their syncs.
func (l *Log) Begin() {
	if l != nil {
		l.underWay.Add(1)
	}
}

// End follows each Begin.
func (l *Log) End() {
	if l != nil {
		l.underWay.Add(-1)
	}
}

// Err is nil while the log can be written, else an ErrUnavailable: nothing
// that would have to be recorded may be begun.
func (l *Log) Err() error { return l.Admit(false) }

// Admit is Err for one operation. On a full volume a deletion may still be
// done, since that is what makes room.
func (l *Log) Admit(deletion bool) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.low && !deletion {
		return fmt.Errorf("%w: its volume is full: %w", ErrUnavailable, efs.ErrNoSpace)
	}
	if l.failed != nil || l.closed {
		return l.errLocked()
	}
	return nil
}

func (l *Log) errLocked() error {
	if l.failed != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, l.failed)
	}
	return fmt.Errorf("%w: it is closed", ErrUnavailable)
}

// Stats returns what was counted.
func (l *Log) Stats() Stats {
	if l == nil {
		return Stats{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	if l.batch != nil {
		s.Waiting = len(l.batch.ends)
	}
	return s
}

// Sync writes what waits and returns when it is durable.
func (l *Log) Sync(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	b := l.batch
	l.signal()
	l.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-l.stop:
		return fmt.Errorf("%w: it is closed", ErrUnavailable)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes what waits, signs a last head, and keeps the state. Closing
// twice is no error.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	failed := l.failed
	l.mu.Unlock()
	close(l.stop)
	l.tasks.Wait()
	err := errors.Join(failed, l.w.close())
	l.seed.Destroy()
	return err
}
