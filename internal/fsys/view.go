package fsys

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
)

// How long the hold of a view lasts if the process dies, and how often it is
// renewed.
const (
	holdFor   = 10 * time.Minute
	holdRenew = 2 * time.Minute
)

// View is a file system as of one change, however long clients go on writing.
// What was deleted or replaced since is there to be read, for a hold keeps the
// contents; what was forgotten since is not (efs.ErrForgotten). Its methods are
// safe for concurrent use.
type View struct {
	live  *FS
	past  *FS  // the same file system, reading from the snapshot
	alone bool // there is no other: nothing is held
	at    efs.IndexSnapshot
	hold  string

	end   chan struct{} // closed by Close
	ended chan struct{} // closed when the hold is renewed no more
	once  sync.Once
	lost  atomic.Pointer[error] // why the contents are not held any more
}

// Snapshot returns a view of everything as of the last change. Until it is
// closed it holds all contents that were there, by a mark whose name begins
// with name; if the process dies, the mark expires ten minutes later.
// efs.ErrNoSpace where the volume has no room for a copy of the index.
func (fs *FS) Snapshot(ctx context.Context, name string) (*View, error) {
	if err := fs.ready(); err != nil {
		return nil, err
	}
	v := &View{live: fs, hold: name + " " + efs.NewID().String(), end: make(chan struct{}), ended: make(chan struct{})}
	now, err := fs.o.Index.Head(ctx)
	if err != nil {
		return nil, err
	}
	// The hold comes first: what is released after it stays, and the snapshot,
	// which is made after it, refers to nothing that was released before.
	fs.views.set(v, now.Seq)
	if err := v.renew(ctx, now.Seq); err != nil {
		fs.views.end(v)
		return nil, err
	}
	if err := v.open(ctx); err != nil {
		return nil, errors.Join(err, v.release())
	}
	fs.views.set(v, v.Seq())
	if !fs.work.goUnlessClosed(v.keep) {
		return nil, errors.Join(fs.ready(), v.at.Close(), v.release())
	}
	return v, nil
}

// open makes the snapshot and moves the hold to it.
func (v *View) open(ctx context.Context) (err error) {
	if v.at, err = v.live.o.Index.Snapshot(ctx); err != nil {
		return err
	}
	o := v.live.o
	o.Index, o.Anchor, o.Audit, o.Cache = frozen{v.at}, nil, nil, nil
	v.past, err = assemble(o)
	if err == nil {
		v.past.created = v.live.created
		v.past.limits = v.live.limits
		err = v.renew(ctx, v.Seq())
	}
	if err != nil {
		return errors.Join(err, v.at.Close())
	}
	return nil
}

func (v *View) renew(ctx context.Context, seq uint64) error {
	m := efs.Mark{Kind: efs.MarkHold, Name: v.hold, Seq: seq, Expires: time.Now().Add(holdFor)}
	if err := v.live.o.Index.SetMark(ctx, m); err != nil {
		return fmt.Errorf("holding the contents of a snapshot: %w", err)
	}
	return nil
}

// keep renews the hold until the view is closed, or the file system.
func (v *View) keep() {
	defer close(v.ended)
	tick := time.NewTicker(holdRenew)
	defer tick.Stop()
	renewed := time.Now()
	for {
		select {
		case <-v.end:
			return
		case <-v.live.work.ctx.Done():
			v.lose(fmt.Errorf("file system '%s' was closed: %w", v.live.o.Name, efs.ErrStopped))
			return
		case <-tick.C:
		}
		switch err := v.renew(v.live.work.ctx, v.Seq()); {
		case err == nil:
			renewed = time.Now()
		case time.Since(renewed) > holdFor-2*holdRenew:
			v.lose(err)
			return
		default:
			v.live.log.Warn("the hold of a snapshot was not renewed and will be tried again", "error", err)
		}
	}
}

func (v *View) lose(err error) { v.lost.Store(&err) }

// usable is nil while what the view shows is there.
func (v *View) usable() error {
	if err := v.lost.Load(); err != nil {
		return *err
	}
	return v.live.ready()
}

// release gives up the hold.
func (v *View) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	v.live.views.end(v)
	err := v.live.o.Index.DropMark(ctx, efs.MarkHold, v.hold)
	v.live.kickReleases()
	return err
}

// Close gives up the snapshot and its hold. Files opened from it stay readable.
func (v *View) Close() (err error) {
	v.once.Do(func() {
		close(v.end)
		<-v.ended
		err = v.at.Close()
		if v.alone {
			return
		}
		// Also where the hold was lost: what this process keeps for the view must
		// not outlive it. That its mark cannot be dropped then is no news.
		if rerr := v.release(); v.lost.Load() == nil {
			err = errors.Join(err, rerr)
		}
	})
	return err
}

// Seq is the sequence number of the last change that the view shows.
func (v *View) Seq() uint64 { return v.at.Head().Seq }

// Index is the snapshot that the view reads.
func (v *View) Index() efs.IndexSnapshot { return v.at }

// Policy is the policy that was in force. Stat and what follows tell of what
// was there.
func (v *View) Policy(ctx context.Context) (efs.Policy, error) { return v.past.newestPolicy(ctx) }

// Usage returns the bytes and files that were in use, without directories.
func (v *View) Usage(ctx context.Context) (efs.Usage, error) { return v.at.Usage(ctx, v.live.o.ID) }

// Stat returns the entry at path.
func (v *View) Stat(ctx context.Context, path string) (efs.Entry, error) {
	if err := v.usable(); err != nil {
		return efs.Entry{}, err
	}
	return v.past.Stat(ctx, path)
}

// Open opens the contents of e, an entry of the view that lies at path; with a
// nil e, of what lies there. Nothing deletes them before the file is closed.
// efs.ErrForgotten for what was forgotten meanwhile.
func (v *View) Open(ctx context.Context, path string, e *efs.Entry) (*File, error) {
	if err := v.usable(); err != nil {
		return nil, err
	}
	segs := strings.Split(strings.Trim(path, "/"), "/")
	if e == nil { // else Walk gave it, whose paths may be longer than any that is asked for
		var err error
		if segs, err = parseEntry(path); err != nil {
			return nil, err
		}
	}
	s, err := v.past.found(ctx, segs)
	switch {
	case errors.Is(err, efs.ErrNotFound) && e != nil:
		// Its record was there and opened.
		return nil, fmt.Errorf("%w: '%s'", efs.ErrForgotten, strings.Join(segs, "/"))
	case err != nil:
		return nil, err
	case e == nil:
		e = s.entry
	}
	if e.Kind == efs.KindDir {
		return nil, fmt.Errorf("%w: '%s'", efs.ErrIsDir, s.path())
	}
	v.live.contents.pin(e.Extents)
	f, err := v.past.openFile(ctx, e)
	if err != nil {
		v.live.contents.unpin(e.Extents)
		if errors.Is(err, efs.ErrNotFound) {
			err = fmt.Errorf("%w: the contents of file %s are gone: run fsck", efs.ErrDamaged, e.File)
		}
		return nil, err
	}
	f.unit, f.alsoPinned = s.unit, v.live
	return f, nil
}
