package fsys

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/efs-project/efs"
)

// The pace of the background work.
const (
	anchorEvery  = 2 * time.Second
	workEvery    = 5 * time.Second        // without being asked
	workDelay    = 100 * time.Millisecond // after being asked, to do more at once
	trimEvery    = time.Minute
	purgeEvery   = time.Hour
	purgeAfter   = 7 * 24 * time.Hour // in quarantine
	settleAtOnce = 64
	settleQueue  = 1 << 16
)

// work is what is done in the background: blobs settled, released contents
// deleted, detached directories emptied, names sorted, the log trimmed, the head
// anchored.
// All of it can be done again and is found again after a restart.
type work struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{} // there is something to do
	begun  chan struct{} // closed when the blobs of the last run have been settled
	flush  dirQueue      // large directories with many changed names
	merge  dirQueue      // directories that may have become large, or have many runs of names
	before sync.Map      // ids of large directories whose names are of an earlier form

	count kicked // users are to be counted

	reaping, releasing pace // each used by one goroutine

	keeping sync.Mutex // held by who settles blobs, empties directories or deletes contents
	merging sync.Mutex // held by who writes long runs of names, or gives names up

	mu     sync.Mutex
	settle []efs.ID // blobs to be settled; what does not fit is settled after the next start
	ended  bool
}

func (w *work) init() {
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.wake = make(chan struct{}, 1)
	w.begun = make(chan struct{})
	w.flush.init()
	w.merge.init()
	w.count = make(kicked, 1)
}

// start begins the background work of fs. leftovers are blobs that were found
// where new blobs lie; it begins at the given time.
func (w *work) start(fs *FS, leftovers []efs.ID, began int64) {
	w.wg.Go(func() { fs.every(anchorEvery, "anchoring the head", fs.setAnchor) })
	w.wg.Go(func() { fs.every(trimEvery, "trimming the change log", fs.trim) })
	if fs.o.Audit != nil {
		w.wg.Go(func() { fs.every(auditEvery, "noting how far the audit log is", fs.keepAudited) })
	}
	w.wg.Go(func() { fs.every(purgeEvery, "purging the quarantine", fs.purge) })
	w.wg.Go(fs.countUsers)
	w.wg.Go(fs.doJobs)
	w.wg.Go(func() { fs.tend(&w.flush, "sorting changed names", fs.flushNames) })
	w.wg.Go(func() { fs.tend(&w.merge, "merging sorted names", fs.mergeNames) })
	w.wg.Go(func() {
		fs.report("settling blobs of the last run", fs.settleLeftovers(w.ctx, leftovers))
		close(w.begun)
		fs.report("forgetting what was to be forgotten", fs.forgetAll(w.ctx))
		fs.report("destroying keys of what was forgotten", fs.forgetAgain(w.ctx))
		fs.report("destroying keys of units that were not made", fs.sweepUnits(w.ctx, began))
		fs.houseKeeping()
	})
}

// stop ends the work and waits for it. It reports whether it was under way.
func (w *work) stop() bool {
	w.mu.Lock()
	was := !w.ended
	w.ended = true
	w.mu.Unlock()
	w.cancel()
	w.wg.Wait()
	return was
}

// goUnlessClosed runs fn, for which stop waits, unless the work has ended.
func (w *work) goUnlessClosed(fn func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.wg.Go(fn)
	}
	return !w.ended
}

func (w *work) closed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

// kick asks for the work to be done soon.
func (w *work) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (fs *FS) kickReleases() { fs.work.kick() }

// every does something again and again until the end.
func (fs *FS) every(d time.Duration, what string, do func(context.Context) error) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fs.report(what, do(fs.work.ctx))
		case <-fs.work.ctx.Done():
			return
		}
	}
}

// houseKeeping does what is asked for, and looks by itself now and then.
func (fs *FS) houseKeeping() {
	tick := time.NewTicker(workEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-fs.work.wake:
			fs.pause(workDelay)
		case <-fs.work.ctx.Done():
			return
		}
		if fs.o.Index.Err() != nil {
			return // nothing can be changed any more
		}
		fs.report("forgetting what was to be forgotten", fs.forgetAll(fs.work.ctx))
		fs.work.keeping.Lock()
		fs.report("settling blobs", fs.settleBlobs(fs.work.ctx))
		fs.report("dropping uploads that were not completed", fs.expireUploads(fs.work.ctx))
		fs.report("emptying deleted directories", fs.reap(fs.work.ctx))
		fs.report("deleting released contents", fs.release(fs.work.ctx))
		fs.work.keeping.Unlock()
	}
}

// pause waits, or not at all once the file system is being closed.
func (fs *FS) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-fs.work.ctx.Done():
	}
}

// report logs a failure of background work. It is tried again.
func (fs *FS) report(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		fs.log.Error(what+" failed and will be tried again", "error", err)
	}
}

// trim cuts the change log at its limit. Followers keep what they need.
func (fs *FS) trim(ctx context.Context) error {
	first, last, err := fs.o.Index.LogBounds(ctx)
	if err != nil {
		return err
	}
	limit := uint64(fs.o.LogLimit)
	if last < limit || last-limit < first {
		return nil
	}
	if err := fs.markAudited(ctx); err != nil {
		return err
	}
	return fs.o.Index.TrimChanges(ctx, last-limit)
}

// purge deletes blobs that have been in quarantine for long enough.
func (fs *FS) purge(ctx context.Context) error {
	n, err := fs.o.Blobs.PurgeQuarantine(ctx, fs.o.Clock().Add(-purgeAfter))
	if n > 0 {
		fs.log.Info("deleted blobs from quarantine", "blobs", n)
	}
	return err
}
