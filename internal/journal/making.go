package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
)

// made is what came of making a checkpoint.
type made struct {
	number uint64
	head   efs.Head
	size   int64
	err    error
}

// consider makes a checkpoint where one is due.
func (k *Keeper) consider() {
	if k.making != nil || !k.due() {
		return
	}
	// Somebody may have removed the directory. Where the one that it lies in is
	// missing too, a volume is away, in whose place nothing is to be made.
	_, err := os.Stat(filepath.Dir(k.o.Dir))
	if err == nil {
		err = atomicfile.MkdirAll(k.o.Dir, 0o700)
	}
	if err == nil {
		err = k.mayTake(k.estimate())
	}
	if err == nil {
		err = k.turn()
	}
	if err != nil {
		k.cannot(err)
		return
	}
	k.failed = time.Time{}
	k.tell(func(s *Status) {
		if s.Reason, s.State = "", Current; k.broken {
			s.State, s.Behind = Checkpointing, k.since
		}
	})
	number, from, done := k.current.number, k.at, make(chan made, 1)
	k.making = done
	k.done.Go(func() {
		m := made{number: number}
		m.head, m.size, m.err = k.checkpoint(number, from)
		done <- m
	})
}

// cannot notes that no checkpoint could be made. Where the logs lead to the last
// commit without one, they go on.
func (k *Keeper) cannot(err error) {
	if k.broken {
		k.pause(err)
		return
	}
	k.failed = k.o.Clock()
	k.log.Warn("no checkpoint could be made for the journal, which grows meanwhile", "err", err)
}

// due reports whether a checkpoint is to be made now.
func (k *Keeper) due() bool {
	now := k.o.Clock()
	switch {
	case !k.failed.IsZero() && now.Sub(k.failed) < k.pauseOf(retryAfter):
		return false
	case k.gap || k.broken:
		return true
	}
	return k.dirty && (k.logged > max(k.o.Logs, 2*k.base) || k.logs > mostLogs || now.Sub(k.based) > k.o.Interval)
}

// estimate is how long a checkpoint will be, at most.
func (k *Keeper) estimate() int64 {
	s := k.o.Index.Stats()
	return s.SizeBytes - s.FreeBytes + s.PendingBytes
}

// turn begins the log that a checkpoint goes with, and ends the one before.
func (k *Keeper) turn() error {
	if err := k.endLog(); err != nil {
		k.miss(time.Time{})
		return err
	}
	if err := k.renumber(); err != nil {
		k.miss(time.Time{})
		return err
	}
	if k.gap {
		k.at = k.tap.resume()
	}
	if err := k.beginLog(); err != nil {
		k.miss(time.Time{})
		return err
	}
	k.gap = false
	return nil
}

// endLog ends the log that is being written: in order, if the journal leads to
// it. Else the next start is to know that it leads nowhere.
func (k *Keeper) endLog() error {
	l := k.current
	k.current = nil
	switch {
	case l == nil:
		return nil
	case k.broken:
		return l.f.Close()
	}
	return l.end()
}

// renumber sees to it that the next files come after all that are there, also
// after those that could not be seen at the start or were put there since: the
// newest checkpoint is the one that counts.
func (k *Keeper) renumber() error {
	files, err := list(k.o.Dir)
	if err == nil && len(files) > 0 {
		k.next = max(k.next, files[len(files)-1].number+1)
	}
	return err
}

// checkpoint writes checkpoint number, of an index that is at from or later,
// durably.
func (k *Keeper) checkpoint(number uint64, from efs.Head) (head efs.Head, size int64, err error) {
	s, err := k.o.Index.Snapshot(k.ctx)
	if err != nil {
		return head, 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if head = s.Head(); head.Revision < from.Revision {
		return head, 0, fmt.Errorf("snapshot of revision %d, older than %d", head.Revision, from.Revision)
	}
	path := filepath.Join(k.o.Dir, fileName(number, checkpointSuffix))
	f, err := os.OpenFile(path+partSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return head, 0, err
	}
	w := &pacedFile{ctx: k.ctx, f: f, w: directFile{f: f}, check: func() error {
		return errors.Join(k.o.Fault("checkpoint"), k.mayTake(pacedStep))
	}}
	err = writeCheckpoint(k.ctx, w, k.key, s, number)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = k.o.Fault("rename")
	}
	if err == nil {
		err = os.Rename(path+partSuffix, path)
	}
	if err != nil {
		return head, 0, errors.Join(err, os.Remove(path+partSuffix))
	}
	return head, w.written, atomicfile.SyncDir(k.o.Dir)
}

// made takes note of a checkpoint that was made, or could not be.
func (k *Keeper) made(m made) {
	k.making = nil
	if m.err != nil {
		if !errors.Is(m.err, context.Canceled) {
			k.cannot(m.err)
		}
		return
	}
	k.first, k.base, k.based, k.dirty = m.number, m.size, k.o.Clock(), k.at.Revision > m.head.Revision
	k.logs, k.logged = 1, 0
	k.broken = k.gap // commits were missed again meanwhile
	k.tell(func(s *Status) {
		s.Made++
		s.Checkpoint, s.Head = k.based, m.head
		if k.at.Revision > m.head.Revision && !k.gap {
			s.Head = k.at
		}
		if !k.broken && s.State != Paused {
			s.State, s.Behind = Current, time.Time{}
		}
	})
	if err := k.removeBefore(m.number); err != nil {
		k.log.Error("removing what a checkpoint has replaced", "err", err)
	}
}

// removeBefore removes the files that checkpoint number has replaced.
func (k *Keeper) removeBefore(number uint64) error {
	files, err := list(k.o.Dir)
	for _, f := range files {
		if f.number >= number {
			break
		}
		if err := k.o.Fault("remove"); err != nil {
			return err
		}
		err = errors.Join(err, os.Remove(f.path))
	}
	return err
}

// pacedFile writes in steps, each durable before the next: a volume that has
// gigabytes to write at once lets every commit wait. Between them it rests as long as it worked.
type pacedFile struct {
	ctx     context.Context
	f       *os.File
	w       directFile
	check   func() error
	step    int64
	written int64
	began   time.Time
}

const pacedStep = 8 << 20

func (p *pacedFile) Write(b []byte) (int, error) {
	if p.step == 0 {
		if err := p.check(); err != nil {
			return 0, err
		}
		p.began = time.Now()
	}
	n, err := p.w.Write(b)
	p.step, p.written = p.step+int64(n), p.written+int64(n)
	if err == nil && p.step >= pacedStep {
		p.step = 0
		err = p.rest()
	}
	return n, err
}

func (p *pacedFile) rest() error {
	if err := p.f.Sync(); err != nil {
		return err
	}
	select {
	case <-time.After(time.Since(p.began)):
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

var _ io.Writer = (*pacedFile)(nil)
