package fsys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

const (
	resealPage  = 256             // entries looked at at a time
	resealBatch = 4 << 20         // bytes of small files in one transaction
	saveEvery   = 5 * time.Second // how far a job is
)

// resealFiles looks at all files, again and again, until a pass finds none in
// need that began when no store from before was under way: files are moved
// behind its back, and an upload that began before ends with its old keys.
// errWaiting while it waits for uploads.
func (fs *FS) resealFiles(ctx context.Context, j *job) error {
	for {
		if j.rec.Cursor == nil {
			quiet, err := fs.beforePass(j)
			if err != nil {
				return err
			}
			j.update(func(r *jobRecord) {
				r.State, r.Detail = JobRunning, ""
				r.Pass, r.Done, r.Found, r.Problems, r.Quiet = r.Pass+1, 0, 0, 0, quiet
			})
		}
		if u, err := fs.Usage(ctx); err == nil {
			j.mu.Lock()
			j.total = u.Files
			j.mu.Unlock()
		}
		if err := fs.resealPass(ctx, j); err != nil {
			return err
		}
		j.update(func(r *jobRecord) { r.Cursor = nil })
		switch r := &j.rec; {
		case r.Problems > 0 && r.Found == r.Problems:
			return fmt.Errorf("%w: %d files could not be read and stay under the old keys: run efsctl fsck --deep, restore or delete what it reports, and begin again", errGivenUp, r.Problems)
		case r.Found == 0 && r.Quiet:
			return nil
		}
		if err := fs.saveJob(ctx, j); err != nil {
			return err
		}
	}
}

// beforePass reports whether a pass that begins now finds all that was stored
// with old keys. The first one begins at once; the others wait for the uploads
// that were under way when the one before them ended.
func (fs *FS) beforePass(j *job) (quiet bool, err error) {
	if j.rec.Pass == 0 {
		return len(fs.contents.underWay()) == 0, nil
	}
	if j.canceled() {
		return false, errCanceled
	}
	if !j.listed {
		j.uploads, j.listed = fs.contents.underWay(), true
	}
	for len(j.uploads) > 0 {
		if fs.contents.isWriting(j.uploads[0]) {
			j.update(func(r *jobRecord) { r.Detail = "uploads that began before are still under way" })
			fs.jobs.tell()
			return false, errWaiting
		}
		j.uploads = j.uploads[1:]
	}
	j.listed = false
	return true, nil
}

// underWay returns the blobs that are being written.
func (c *contents) underWay() []efs.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []efs.ID
	for id := range c.writing {
		ids = append(ids, id)
	}
	return ids
}

// resealPass looks at the entries after the job's cursor.
func (fs *FS) resealPass(ctx context.Context, j *job) error {
	limit := newThrottle(j.rec.Rate)
	saved := time.Now()
	if err := fs.resealUploads(ctx, j, limit); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if j.canceled() {
			return errCanceled
		}
		recs, err := fs.o.Index.Scan(ctx, efs.SpaceEntries, nil, j.rec.Cursor, resealPage)
		if err != nil {
			return err
		}
		if err := fs.resealRecords(ctx, j, limit, recs); err != nil {
			return err
		}
		if len(recs) < resealPage {
			return nil
		}
		j.update(func(r *jobRecord) { r.Cursor = bytes.Clone(recs[len(recs)-1].Key) })
		fs.jobs.tell()
		if time.Since(saved) > saveEvery {
			if err := fs.saveJob(ctx, j); err != nil {
				return err
			}
			saved = time.Now()
		}
	}
}

// resealRecords seals anew what of a page of entries needs it: small contents
// many at a time, large ones one by one.
func (fs *FS) resealRecords(ctx context.Context, j *job, limit *throttle, recs []efs.Record) error {
	b := batch{fs: fs, j: j}
	for i := range recs {
		e, u, err := fs.openUnitEntry(recs[i].Key, recs[i].Sealed)
		if errors.Is(err, efs.ErrDamaged) {
			j.problem(fs, efs.ID{}, err)
			continue
		}
		if err != nil && !isForgotten(err) {
			return err
		}
		if err != nil || e.Kind != efs.KindFile {
			continue
		}
		need, err := fs.inNeed(ctx, j, e)
		if err == nil && need {
			j.update(func(r *jobRecord) { r.Found++ })
			err = fs.resealEntry(ctx, limit, &b, relocation{entry: e, unit: u, key: entryKey(recs[i].Key), version: recs[i].Version})
		}
		if err = fs.tolerate(ctx, j, &recs[i], e, err); err != nil {
			return err
		}
		j.update(func(r *jobRecord) { r.Done++ })
	}
	return b.flush(ctx)
}

// tolerate passes over a file that changed meanwhile, which the next pass
// looks at, and over one whose contents are damaged.
func (fs *FS) tolerate(ctx context.Context, j *job, rec *efs.Record, e *efs.Entry, err error) error {
	switch {
	case err == nil, errors.Is(err, efs.ErrConflict), isForgotten(err):
		return nil
	case !errors.Is(err, efs.ErrDamaged) && !errors.Is(err, efs.ErrNotFound):
		return err
	}
	now, getErr := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceEntries, Bytes: rec.Key})
	if getErr != nil {
		return getErr
	}
	if now[0].Version == rec.Version {
		j.problem(fs, e.File, err)
	}
	return nil
}

// problem notes a file that cannot be sealed anew.
func (j *job) problem(fs *FS, file efs.ID, err error) {
	fs.log.Error("a file cannot be sealed anew", "job", j.rec.ID.String(), "file", file.String(), "error", err)
	j.update(func(r *jobRecord) {
		r.Problems++
		r.Found = max(r.Found, r.Problems)
	})
}

// inNeed reports whether one of a file's contents is to be sealed anew.
func (fs *FS) inNeed(ctx context.Context, j *job, e *efs.Entry) (bool, error) {
	for i := range e.Extents {
		need, err := fs.extentInNeed(ctx, j, &e.Extents[i])
		if need || err != nil {
			return need, err
		}
	}
	return false, nil
}

func (fs *FS) extentInNeed(ctx context.Context, j *job, x *efs.Extent) (bool, error) {
	if j.rec.Kind == JobReseal {
		return x.Policy < j.rec.Policy, nil
	}
	return fs.sealedIn(ctx, x, func(epoch int) bool { return epoch == j.rec.Epoch })
}

// sealedIn reports whether a content is sealed with keys of an epoch that is
// wanted. Where the extent does not note its epoch, the header tells.
func (fs *FS) sealedIn(ctx context.Context, x *efs.Extent, wanted func(epoch int) bool) (bool, error) {
	if x.Epoch != 0 {
		return wanted(x.Epoch), nil
	}
	h, err := fs.header(ctx, x)
	if err != nil {
		return false, err
	}
	for _, st := range h.Stages {
		for i := range st.Slots {
			if len(st.Slots[i].Key) != 16 {
				continue
			}
			if epoch, ok := fs.o.Keys.EpochOf([16]byte(st.Slots[i].Key)); ok && wanted(epoch) {
				return true, nil
			}
		}
	}
	return false, nil
}

// header reads the header of a content whose entry does not say what sealed it.
func (fs *FS) header(ctx context.Context, x *efs.Extent) (*seal.Header, error) {
	id := x.Content
	if x.Inline {
		recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceInline, Bytes: id[:]})
		if err != nil {
			return nil, err
		}
		if recs[0].Version == 0 {
			return nil, fmt.Errorf("content %s: %w", id, efs.ErrNotFound)
		}
		h, err := seal.ReadHeader(bytes.NewReader(recs[0].Sealed))
		return h, asDamaged(id, err)
	}
	b, err := fs.o.Blobs.Open(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("content %s: %w", id, err)
	}
	defer b.Close()
	h, err := seal.ReadHeader(newSection(b))
	return h, asDamaged(id, err)
}

func asDamaged(id efs.ID, err error) error {
	if err == nil {
		return nil
	}
	return damaged(id, err)
}
