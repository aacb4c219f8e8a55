package fsys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/efs-project/efs"
	"golang.org/x/time/rate"
)

// batch commits relocations of small files, many at a time.
type batch struct {
	fs      *FS
	j       *job
	waiting []relocation
	bytes   int64
}

func (b *batch) add(ctx context.Context, r relocation) error {
	b.waiting = append(b.waiting, r)
	if b.bytes += r.entry.Size; b.bytes < resealBatch {
		return nil
	}
	return b.flush(ctx)
}

// flush commits what waits, all at once. If one of the files has changed, each
// is committed by itself.
func (b *batch) flush(ctx context.Context) error {
	all := b.waiting
	b.waiting, b.bytes = nil, 0
	if len(all) == 0 {
		return nil
	}
	t := b.fs.begin(Who{})
	for i := range all {
		t.relocate(&all[i])
	}
	_, err := t.commit(ctx)
	if err == nil {
		for i := range all {
			b.done(&all[i])
		}
	}
	if !errors.Is(err, efs.ErrConflict) {
		return err
	}
	for _, r := range all {
		if err := b.one(ctx, r); err != nil && !errors.Is(err, efs.ErrConflict) {
			return err
		}
	}
	return nil
}

// one commits the relocation of one file, wherever it is by now.
// efs.ErrConflict if it no longer has the contents that were sealed anew.
func (b *batch) one(ctx context.Context, r relocation) error {
	err := retry(func() error {
		t := b.fs.begin(Who{})
		t.relocate(&r)
		_, err := t.commit(ctx)
		if errors.Is(err, efs.ErrConflict) {
			if err := b.fs.refresh(ctx, &r); err != nil {
				return err
			}
		}
		return err
	})
	switch {
	case err == nil:
		b.done(&r)
		return nil
	case errors.Is(err, efs.ErrStopped):
		return err // the index may have it: the next start finds out
	case errors.Is(err, errGone), errors.Is(err, efs.ErrUnavailable): // or it is never at rest: the next pass sees
		err = fmt.Errorf("%w: %w", efs.ErrConflict, err)
	}
	b.fs.discard(ctx, r.swaps)
	return err
}

// done counts a relocation that was committed, and settles its blobs.
func (b *batch) done(r *relocation) {
	for i := range r.swaps {
		if s := &r.swaps[i]; !s.new.Inline {
			b.fs.contents.end(s.new.Content)
			b.fs.work.settleLater(s.new.Content)
		}
	}
	b.j.update(func(rec *jobRecord) {
		rec.Files += int64(len(r.swaps))
		rec.Bytes += r.entry.Size
	})
}

// errGone says that a file no longer has the contents that were sealed anew.
var errGone = errors.New("the file was replaced or deleted")

// refresh looks a file up again, by its id: it may have been moved, or
// patched. errGone if it has other contents.
func (fs *FS) refresh(ctx context.Context, r *relocation) error {
	id := r.entry.File
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceFiles, Bytes: id[:]})
	if err != nil {
		return err
	}
	if recs[0].Version == 0 {
		return errGone
	}
	key, err := fs.openFileRecord(id, recs[0].Sealed)
	if err != nil {
		return err
	}
	recs, err = fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceEntries, Bytes: key[:]})
	if err != nil {
		return err
	}
	if recs[0].Version == 0 {
		return efs.ErrConflict // moved between two looks
	}
	e, u, err := fs.openUnitEntry(key[:], recs[0].Sealed)
	if err != nil {
		return err
	}
	if e.File != id {
		return efs.ErrConflict
	}
	if u.id() != r.unit.id() && !(r.convert && u == nil) {
		return errGone
	}
	for i := range r.swaps {
		if !slices.Contains(e.Extents, r.swaps[i].old) {
			return errGone
		}
	}
	r.entry, r.key, r.version = e, key, recs[0].Version
	return nil
}

// relocate puts a file's new contents in place of the old ones, if its record
// is still the one that was read. That says too that nothing above it has let
// go of it: whatever deletes or moves a file writes its record. Neither
// version nor ETag change, and no change is logged, as what readers get is
// the same.
func (t *txn) relocate(r *relocation) {
	key := r.key
	t.t.Checks = append(t.t.Checks, efs.Check{
		Kind: efs.CheckVersion, Version: r.version,
		Key: efs.Key{Space: efs.SpaceEntries, Bytes: key[:]},
	})
	e := *r.entry
	e.Extents = slices.Clone(e.Extents)
	for i := range r.swaps {
		s := &r.swaps[i]
		for n := range e.Extents {
			if e.Extents[n] == s.old {
				e.Extents[n] = s.new
			}
		}
		if id := s.new.Content; s.new.Inline {
			t.raw(efs.SpaceInline, id[:], s.sealed)
		}
		t.t.Release = append(t.t.Release, efs.Release{Content: s.old.Content, Inline: s.old.Inline})
	}
	t.putIn(r.unit, efs.SpaceEntries, key[:], &e)
	if r.convert && e.Kind != efs.KindDir {
		t.putIn(r.unit, efs.SpaceFiles, e.File[:], key[:])
	}
	t.rewrite(r.entry, key[:], r.version)
}

// throttle bounds how many bytes pass a second. nil: no bound.
type throttle struct{ limit *rate.Limiter }

const throttleStep = 64 << 10

func newThrottle(bytesPerSecond int64) *throttle {
	if bytesPerSecond <= 0 {
		return nil
	}
	return &throttle{rate.NewLimiter(rate.Limit(bytesPerSecond), int(min(max(bytesPerSecond/4, throttleStep), 1<<30)))}
}

// writer is w, throttled, until ctx ends.
func (t *throttle) writer(ctx context.Context, w io.Writer) io.Writer {
	return &throttledWriter{ctx, t, w}
}

type throttledWriter struct {
	ctx context.Context
	t   *throttle
	w   io.Writer
}

func (w *throttledWriter) Write(b []byte) (n int, err error) {
	for n < len(b) {
		part := b[n:min(len(b), n+throttleStep)]
		if w.t != nil {
			err = w.t.limit.WaitN(w.ctx, len(part))
		} else {
			err = w.ctx.Err()
		}
		if err != nil {
			return n, err
		}
		m, err := w.w.Write(part)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// newSection reads a blob from its start.
func newSection(b efs.Blob) io.Reader { return io.NewSectionReader(b, 0, b.Size()) }
