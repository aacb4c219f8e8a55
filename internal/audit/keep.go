package audit

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// HeadSink takes heads to where they do not go back together with the log.
type HeadSink interface {
	// Name tells which sink it is, in logs.
	Name() string
	// PutHead keeps one line: a signed head of the log or of an index.
	PutHead(ctx context.Context, line []byte) error
}

// sinkTime bounds what a sink may take over one head.
const sinkTime = 10 * time.Second

// keeper is what is to be kept outside the log: only the newest of each counts,
// so whoever is slow holds nobody up.
type keeper struct {
	handing sync.Mutex // held while something is handed on, which others wait for
	unsent  []byte     // newest head that the sinks do not have; guarded by handing
	sent    time.Time  // when they last got something; guarded by handing

	mu      sync.Mutex // guards what follows
	state   *state
	head    []byte
	indexes map[string][]byte // newest head of the index of each file system
	work    chan struct{}
}

// keep takes note of the head that was just written.
func (l *Log) keep(head []byte) {
	w := &l.w
	s := &state{Format: stateFormat, Seq: w.at.seq, Prev: bytes.Clone(w.at.prev[:]), Segment: w.first, Offset: w.size, Line: w.lines}
	if err := w.key.With(func(b []byte) { s.Key = bytes.Clone(b) }); err != nil {
		return // it is being closed
	}
	k := &l.keeper
	k.mu.Lock()
	if k.state != nil {
		k.state.wipe()
	}
	k.state, k.head = s, bytes.Clone(head)
	k.mu.Unlock()
	k.signal()
}

func (k *keeper) signal() {
	select {
	case k.work <- struct{}{}:
	default:
	}
}

// rest is the least time between two rounds of keeping: each syncs files of its
// own. Sinks get heads no more often than they are due by time.
const rest = 2 * time.Second

// runKeeper hands on what is to be kept until stopped, then the last of it.
func (l *Log) runKeeper(stopped <-chan struct{}) {
	late := time.NewTicker(l.o.HeadEvery)
	defer late.Stop()
	for {
		select {
		case <-l.keeper.work:
			l.handOn(false)
			l.retain()
		case <-late.C: // what was not yet due when nothing more came
			l.handOn(false)
		case <-stopped:
			l.handOn(true)
			return
		}
		select {
		case <-time.After(rest):
		case <-stopped: // seen again above
		}
	}
}

// handOn keeps the newest state and heads; the sinks get theirs when it is time,
// or now. What fails is logged and counted; the next head makes good for it.
func (l *Log) handOn(now bool) {
	k := &l.keeper
	k.handing.Lock()
	defer k.handing.Unlock()
	k.mu.Lock()
	s, head := k.state, k.head
	k.state, k.head = nil, nil
	k.mu.Unlock()
	if s != nil {
		if err := s.keep(l.box); err != nil {
			l.sinkFailed("box", err)
		}
		s.wipe()
	}
	if head != nil {
		if l.o.Apart != nil {
			if err := l.o.Apart.PutAuditHead(head); err != nil {
				l.sinkFailed("keyring", err)
			}
		}
		k.unsent = head
	}
	if now || time.Since(k.sent) >= l.o.HeadEvery {
		l.sendHeads()
	}
}

// sendHeads gives the sinks what is new to them. Called with handing held.
func (l *Log) sendHeads() {
	k := &l.keeper
	k.mu.Lock()
	lines := slices.Collect(maps.Values(k.indexes))
	clear(k.indexes)
	k.mu.Unlock()
	if k.unsent != nil {
		lines = append(lines, k.unsent)
		k.unsent = nil
	}
	if len(lines) == 0 {
		return
	}
	k.sent = time.Now()
	for _, sink := range l.o.Sinks {
		for _, line := range lines {
			ctx, cancel := context.WithTimeout(context.Background(), sinkTime)
			err := sink.PutHead(ctx, line)
			cancel()
			if err != nil {
				l.sinkFailed(sink.Name(), err)
				break
			}
		}
	}
}

func (l *Log) sinkFailed(name string, err error) {
	l.o.Logger.Error("head of the audit log not handed on", "to", name, "err", err)
	l.mu.Lock()
	l.stats.SinkErrors++
	l.mu.Unlock()
}

// KeepFor sets Options.KeepAge from now on.
func (l *Log) KeepFor(age time.Duration) {
	if l != nil {
		l.keepAge.Store(int64(age))
	}
}

// retain removes the oldest files that are not to be kept. Before each, the
// log says in a signed line what it begins with from then on, so that what is
// left can be verified.
func (l *Log) retain() {
	if l.keepAge.Load() == 0 && l.o.KeepSize == 0 {
		return
	}
	for {
		more, err := l.cutOldest()
		if err != nil {
			l.o.Logger.Error("old files of the audit log not removed", "err", err)
		}
		if !more || err != nil {
			return
		}
	}
}

func (l *Log) cutOldest() (more bool, err error) {
	all, err := segments(l.o.Dir)
	if err != nil || len(all) < 3 {
		return false, err // the newest is being written, and the state may still lie in the one before
	}
	next, err := firstLine(all[1].path)
	if err != nil {
		return false, err
	}
	total := int64(0)
	for _, s := range all {
		size, err := s.size()
		if err != nil {
			return false, err
		}
		total += size
	}
	// The oldest file ended when the next was begun. When it was changed is
	// for anybody to say who can write the volume.
	age := time.Duration(l.keepAge.Load())
	tooOld := age > 0 && l.o.Clock().Sub(next.Time) > age
	if !tooOld && (l.o.KeepSize == 0 || total <= l.o.KeepSize) {
		return false, nil
	}
	return true, l.cut(all[0], next)
}

// cut removes one file, after which the log begins with first. A crash in between leaves a statement about a file
// that is still there, which is no contradiction.
func (l *Log) cut(old segment, first *Line) error {
	body := gapBody(l.o.Clock(), "audit.cut", fmt.Sprintf("lines %d to %d removed as they are no longer to be kept", old.first, first.Seq-1))
	body = fmt.Appendf(body, `,"first":%d,"before":"%s"`, first.Seq, first.Prev)
	b, err := l.addBody(body, awaited, true)
	if err != nil {
		return err
	}
	select {
	case <-b.done:
	case <-l.stop:
		return nil // it is done after the next start
	}
	if b.err != nil {
		return b.err
	}
	l.files.Lock()
	defer l.files.Unlock()
	return removeFile(old.path)
}
