package fsys

import (
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// settleLater remembers a blob to be moved to its place.
func (w *work) settleLater(id efs.ID) {
	w.mu.Lock()
	if len(w.settle) < settleQueue {
		w.settle = append(w.settle, id)
	}
	n := len(w.settle)
	w.mu.Unlock()
	if n >= settleAtOnce {
		w.kick()
	}
}

// settleBlobs moves the blobs that were stored since to their places.
func (fs *FS) settleBlobs(ctx context.Context) error {
	fs.work.mu.Lock()
	ids := fs.work.settle
	fs.work.settle = nil
	fs.work.mu.Unlock()
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil // the next start settles the rest
		}
		if err := fs.settleBlob(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (fs *FS) settleBlob(ctx context.Context, id efs.ID) error {
	err := fs.o.Blobs.Settle(ctx, id)
	if err != nil && !errors.Is(err, efs.ErrNotFound) { // deleted meanwhile
		return fmt.Errorf("content %s: %w", id, err)
	}
	return nil
}

// leftovers returns the blobs that lie where new blobs lie when the file
// system is opened: before anything is stored, so that none of them is being
// written.
func (fs *FS) leftovers(ctx context.Context) (ids []efs.ID, err error) {
	err = fs.o.Blobs.Unsettled(ctx, func(b efs.BlobInfo) error {
		ids = append(ids, b.ID)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for new blobs: %w", err)
	}
	return ids, nil
}

// settleLeftovers settles the blobs of the last run that belong to something,
// and removes those whose transaction was never committed. One that does not
// tell what it belongs to stays for fsck.
func (fs *FS) settleLeftovers(ctx context.Context, ids []efs.ID) error {
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil
		}
		claim, err := fs.claimed(ctx, id)
		switch {
		case isForgotten(err):
			fs.log.Info("removing a blob of an erasure unit that was forgotten", "content", id.String())
			if err := fs.o.Blobs.Remove(ctx, id); err != nil {
				return fmt.Errorf("content %s: %w", id, err)
			}
		case err != nil:
			fs.log.Error("cannot tell whether a blob of the last run belongs to a file; it stays: run fsck", "content", id.String(), "error", err)
		case claim == unclaimed:
			fs.log.Info("removing a blob whose store was never confirmed", "content", id.String())
			if err := fs.o.Blobs.Remove(ctx, id); err != nil {
				return fmt.Errorf("content %s: %w", id, err)
			}
		case claim == inUse:
			if err := fs.settleBlob(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// claim says what a content belongs to.
type claim int

const (
	unclaimed claim = iota // to nothing: its transaction was never committed, or it is gone
	inUse                  // to an entry, or to a store under way
	released               // to the release queue
)

// claimed finds out what a blob belongs to, without reading the index whole:
// by its content record, or by the file that its trailer names. Entries come
// before the queue, as contents go from one to the other in one transaction.
func (fs *FS) claimed(ctx context.Context, id efs.ID) (claim, error) {
	if fs.contents.isWriting(id) {
		return inUse, nil
	}
	if leased, err := fs.isLeased(ctx, id); err != nil || leased {
		return inUse, err
	}
	file, err := fs.ownerOf(ctx, id)
	if errors.Is(err, efs.ErrNotFound) {
		return unclaimed, nil
	}
	if err != nil {
		return 0, err
	}
	e, err := fs.byFile(ctx, file)
	if err != nil {
		return 0, err
	}
	if e != nil && refersTo(e.Entry, id) {
		return inUse, nil
	}
	queued, err := fs.isQueued(ctx, id)
	if err != nil || queued {
		return released, err
	}
	return unclaimed, nil
}

// isLeased reports whether a content is a part of an upload. Its record says of
// which; if it is not there any more, the upload was completed, and the record
// tells of the file.
func (fs *FS) isLeased(ctx context.Context, id efs.ID) (bool, error) {
	for range maxTries {
		recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceContents, Bytes: id[:]})
		if err != nil || recs[0].Version == 0 {
			return false, err
		}
		var c content
		if err := fs.open(efs.SpaceContents, id[:], recs[0].Sealed, &c); err != nil || c.Upload.IsZero() {
			return false, err
		}
		part, err := fs.uploadPart(ctx, c.Upload, c.Part)
		if err != nil || part != nil && part.Extent.Content == id {
			return err == nil, err
		}
		now, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceContents, Bytes: id[:]})
		if err != nil || now[0].Version == recs[0].Version {
			return false, err // replaced, or dropped
		}
	}
	return false, errBusy
}

func refersTo(e *efs.Entry, id efs.ID) bool {
	for _, x := range e.Extents {
		if x.Content == id {
			return true
		}
	}
	return false
}

// ownerOf returns the file that a blob was written for. efs.ErrNotFound if the
// blob is gone.
func (fs *FS) ownerOf(ctx context.Context, id efs.ID) (efs.ID, error) {
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceContents, Bytes: id[:]})
	if err != nil {
		return efs.ID{}, err
	}
	if recs[0].Version != 0 {
		var c content
		err := fs.open(efs.SpaceContents, id[:], recs[0].Sealed, &c)
		return c.File, err
	}
	b, err := fs.o.Blobs.Open(ctx, id)
	if err != nil {
		return efs.ID{}, err
	}
	defer b.Close()
	r, err := seal.NewReaderAt(b, b.Size(), &seal.Open{
		FS: fs.o.ID, Content: id, Identities: fs.ident, Size: -1, PlainSize: -1,
	})
	if err != nil {
		return efs.ID{}, damaged(id, err)
	}
	defer r.Close()
	rec, err := r.Recovery()
	if err != nil {
		return efs.ID{}, damaged(id, err)
	}
	return rec.File, nil
}

// inlineOwner returns the file that an inline content was written for.
func (fs *FS) inlineOwner(id efs.ID, sealed []byte) (efs.ID, error) {
	plain, trailer, err := seal.OpenBytes(nil, sealed, &seal.Open{
		FS: fs.o.ID, Content: id, Identities: fs.ident, Size: int64(len(sealed)), PlainSize: -1,
	})
	clear(plain)
	if err != nil {
		return efs.ID{}, damaged(id, err)
	}
	return trailer.Recovery.File, nil
}

// isQueued reports whether a content is in the release queue.
func (fs *FS) isQueued(ctx context.Context, id efs.ID) (bool, error) {
	found := false
	err := fs.queued(ctx, func(r efs.Release) error {
		found = found || r.Content == id
		return nil
	})
	return found, err
}

// queued calls fn for everything in the release queue.
func (fs *FS) queued(ctx context.Context, fn func(efs.Release) error) error {
	var after efs.Release
	for {
		queue, err := fs.o.Index.Queued(ctx, after, scanPage)
		if err != nil {
			return err
		}
		for _, r := range queue {
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(queue) < scanPage {
			return nil
		}
		after = queue[len(queue)-1]
	}
}
