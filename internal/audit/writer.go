package audit

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/secret"
)

// writer is the end of the log, which one goroutine writes to.
type writer struct {
	at       link        // of the next line
	key      *secret.Key // of it
	f        file        // nil: begun with the next line
	first    uint64      // first line of f
	size     int64       // of f, written and synced
	lines    int64       // in f
	reserved int64       // end of what is allocated in f
	bare     bool        // the volume cannot reserve

	out      []byte // lines on their way into f
	count    int64  // of them
	headAt   int    // where the newest head in out begins; -1: there is none
	headEnd  int
	headSeq  uint64
	since    int  // lines since the last head
	rotation bool // the next line begins a file
	spent    *batch
	synced   time.Time // when the last sync began
}

// run writes batch after batch until the log is closed.
func (l *Log) run() {
	head := time.NewTimer(l.o.HeadEvery)
	defer head.Stop()
	for {
		due := false
		select {
		case <-l.wake:
			l.gather()
		case <-l.soon.C:
		case <-head.C:
			due = true
			head.Reset(l.o.HeadEvery)
		case <-l.stop:
			l.flush(true)
			return
		}
		l.flush(due)
	}
}

// Many changes at once wait for each other, but no longer than pause after the
// last sync: a sync costs as much processor time as half a small store. It is
// what databases call commit delay and commit siblings.
const (
	siblings = 4
	pause    = time.Millisecond
)

// gather lets those who are about to wait for the log do it first: whoever was
// confirmed by one commit of an index comes here at the same moment, and each
// that shares a sync saves one. A change that is alone waits for nothing.
func (l *Log) gather() {
	runtime.Gosched()
	var timer *time.Timer
	for {
		l.mu.Lock()
		n := int64(len(l.batch.ends))
		l.mu.Unlock()
		under := l.underWay.Load()
		if under < siblings || 2*n >= under {
			return
		}
		if timer == nil {
			left := pause - time.Since(l.w.synced)
			if left <= 0 {
				return
			}
			timer = time.NewTimer(left)
			defer timer.Stop()
		}
		select {
		case <-l.wake:
		case <-timer.C:
			return
		case <-l.stop:
			return
		}
	}
}

// flush writes what waits, in one write and one sync. headDue asks for a head
// if there were lines since the last.
func (l *Log) flush(headDue bool) {
	l.mu.Lock()
	b, failed := l.batch, l.failed
	l.batch = newBatch(l.w.spent)
	var dropped, suppressed uint64
	if !l.low { // what is left of a full volume is for deletions
		dropped, suppressed = l.dropped, l.suppressed
		l.dropped, l.suppressed = 0, 0
	}
	headWanted := l.headWanted
	l.headWanted = false
	l.mu.Unlock()
	l.w.spent = b
	defer close(b.done)
	if failed != nil {
		b.err = fmt.Errorf("%w: %w", ErrUnavailable, failed)
		return
	}
	if err := l.compose(b, dropped, suppressed, headDue, headWanted); err != nil {
		b.err = l.fail(err)
		return
	}
	if len(l.w.out) == 0 {
		if l.Stats().Low && l.w.f != nil {
			if err := l.reserve(); err != nil {
				b.err = l.fail(err)
			}
		}
		return
	}
	switch err := l.put(); {
	case err == nil:
		l.written()
	case isFull(err):
		l.setLow(true) // the lines stay in out, and go first when there is room
		b.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		b.err = l.fail(err)
	}
}

// compose makes lines of a batch: what is missing first, then the events, then
// a head if one is due.
func (l *Log) compose(b *batch, dropped, suppressed uint64, headDue, headWanted bool) error {
	w, now := &l.w, l.o.Clock()
	if dropped > 0 {
		if err := l.line(gapBody(now, "audit.gap", fmt.Sprintf("%d events could not be recorded", dropped)), true); err != nil {
			return err
		}
	}
	if suppressed > 0 {
		if err := l.line(gapBody(now, "audit.suppressed", fmt.Sprintf("%d events of unknown callers were more than is recorded of them", suppressed)), false); err != nil {
			return err
		}
	}
	start := 0
	for i, end := range b.ends {
		if err := l.line(b.bodies[start:end], i < len(b.signed) && b.signed[i]); err != nil {
			return err
		}
		start = end
	}
	full := w.size+int64(len(w.out)) >= l.o.MaxSize // a file ends with a head
	if w.since >= l.o.HeadLines || w.since > 0 && (headDue || full) || headWanted {
		return l.head(now)
	}
	return nil
}

func (l *Log) line(body []byte, signed bool) (err error) {
	w := &l.w
	var signer func([]byte) []byte
	if signed {
		signer = sign(l.seed)
	}
	if w.out, err = w.at.appendLine(w.out, body, w.key, signer); err != nil {
		return err
	}
	w.count++
	w.since++
	return nil
}

// head signs where the log is.
func (l *Log) head(now time.Time) error {
	w := &l.w
	w.headAt, w.headSeq = len(w.out), w.at.seq
	body := appendID(append(gapBody(now, "audit.head", ""), `,"root":"`...), l.root)
	if err := l.line(append(body, '"'), true); err != nil {
		return err
	}
	w.headEnd = len(w.out)
	w.since = 0
	return nil
}

// gapBody is the body of what the log says about itself.
func gapBody(now time.Time, op, detail string) []byte {
	e := Event{Time: now, Op: op, Detail: detail}
	return e.appendBody(nil)
}

// put writes out behind what is there.
func (l *Log) put() error {
	w := &l.w
	if err := l.openSegment(); err != nil {
		return err
	}
	if err := l.reserve(); err != nil {
		return err
	}
	if path := segmentPath(l.o.Dir, w.first); w.headAt >= 0 && !w.f.At(path) {
		return fmt.Errorf("%s was moved or removed while it was written to: %w", path, efs.ErrDamaged)
	}
	if _, err := w.f.WriteAt(w.out, w.size); err != nil {
		// What may have been written of it is no part of the log.
		return errors.Join(fmt.Errorf("writing the audit log: %w", err), w.f.Truncate(w.size))
	}
	w.synced = time.Now()
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("syncing the audit log: %w", err)
	}
	return nil
}

// openSegment begins a file where one is due. While its space cannot be had
// the old one goes on.
func (l *Log) openSegment() error {
	w := &l.w
	if w.f != nil && !w.rotation {
		return nil
	}
	first := w.at.seq - uint64(w.count)
	f, err := l.newSegment(segmentPath(l.o.Dir, first))
	if err != nil {
		if w.f != nil && isFull(err) {
			return nil
		}
		return fmt.Errorf("beginning a file of the audit log: %w", err)
	}
	if err := w.closeFile(); err != nil {
		return err
	}
	w.f, w.first, w.size, w.lines, w.reserved, w.rotation = f, first, 0, 0, l.o.Reserve, false
	return nil
}

// newSegment makes a file that has its space, or none: an empty one among the
// others would look like one whose lines were taken out.
func (l *Log) newSegment(path string) (file, error) {
	f, err := l.o.open(path)
	if err == nil {
		if err = f.Reserve(0, l.o.Reserve); errors.Is(err, errors.ErrUnsupported) {
			err = nil
		}
		if err == nil {
			err = atomicfile.SyncDir(l.o.Dir)
		}
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(err, removeFile(path))
	}
	return f, nil
}

// isFull reports whether there was no room.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// reserve keeps space allocated ahead of what is written. When that fails, the
// rest is for deletions.
func (l *Log) reserve() error {
	w := &l.w
	if w.bare || w.reserved-w.size-int64(len(w.out)) >= l.o.Reserve/2 {
		l.setLow(false)
		return nil
	}
	from := max(w.reserved, w.size)
	err := w.f.Reserve(from, l.o.Reserve+int64(len(w.out)))
	switch {
	case err == nil:
		w.reserved = from + l.o.Reserve + int64(len(w.out))
		l.setLow(false)
	case errors.Is(err, errors.ErrUnsupported):
		w.bare = true
	case isFull(err):
		l.setLow(true)
	default:
		return fmt.Errorf("allocating space for the audit log: %w", err)
	}
	return nil
}

// written notes that out is durable.
func (l *Log) written() {
	w := &l.w
	w.size += int64(len(w.out))
	w.lines += w.count
	l.mu.Lock()
	l.stats.Events += uint64(w.count)
	l.stats.Syncs++
	l.stats.Bytes += int64(len(w.out))
	l.stats.Seq = w.at.seq
	l.endPath, l.endSize, l.next = segmentPath(l.o.Dir, w.first), w.size, w.at.seq
	if w.bare {
		l.low = false
		l.stats.Low = false
	}
	if w.headAt >= 0 {
		l.stats.HeadSeq = w.headSeq
		l.lastHead = bytes.Clone(w.out[w.headAt:w.headEnd])
	}
	l.mu.Unlock()
	if w.headAt >= 0 {
		l.keep(w.out[w.headAt:w.headEnd])
	}
	w.out, w.count, w.headAt = w.out[:0], 0, -1
	if cap(w.out) > keepBuffer {
		w.out = nil
	}
	w.rotation = w.size >= l.o.MaxSize
}

func (l *Log) setLow(low bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.low == low {
		return
	}
	l.low, l.stats.Low = low, low
	if low {
		l.o.Logger.Error("the volume of the audit log is full: only deletions are done until there is room", "dir", l.o.Dir)
	} else {
		l.o.Logger.Warn("the audit log has room again", "dir", l.o.Dir)
	}
}

// fail ends the log: after a failed write or sync nobody knows what is on the
// disk.
func (l *Log) fail(err error) error {
	l.o.Logger.Error("the audit log cannot be written: nothing is changed until the server is started anew", "dir", l.o.Dir, "err", err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = err
	return l.errLocked()
}

// closeFile gives back what was allocated ahead.
func (w *writer) closeFile() error {
	if w.f == nil {
		return nil
	}
	err := errors.Join(w.f.Truncate(w.size), w.f.Close())
	w.f = nil
	if err != nil {
		return fmt.Errorf("closing a file of the audit log: %w", err)
	}
	return nil
}

func (w *writer) close() error {
	err := w.closeFile()
	w.key.Destroy()
	return err
}
