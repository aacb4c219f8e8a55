package fsys

import (
	"context"
	"fmt"

	"github.com/efs-project/efs"
)

// release deletes what the release queue holds, but for contents that are
// being read or that a hold protects. The blob goes before its place in the
// queue: after a crash it is merely removed again.
func (fs *FS) release(ctx context.Context) error {
	for more := true; more; {
		err := fs.work.releasing.try(func(steps int) error {
			// Pinned contents stay at the front of the queue: look past them.
			limit := steps + fs.contents.pins()
			queue, err := fs.o.Index.Releasable(ctx, limit)
			if err != nil {
				return err
			}
			n, err := fs.deleteContents(ctx, queue)
			more = n > 0 && len(queue) == limit
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteContents deletes what of queue is not pinned, and returns how many
// that were.
func (fs *FS) deleteContents(ctx context.Context, queue []efs.Release) (int, error) {
	var t efs.Txn
	for _, r := range queue {
		if fs.contents.isPinned(r.Content) || fs.views.needs(r) {
			continue
		}
		id := r.Content
		if r.Inline {
			t.Mutations = append(t.Mutations, efs.Mutation{Key: efs.Key{Space: efs.SpaceInline, Bytes: id[:]}})
		} else {
			if err := fs.o.Blobs.Remove(ctx, id); err != nil {
				return 0, fmt.Errorf("content %s: %w", id, err)
			}
			t.Mutations = append(t.Mutations, efs.Mutation{Key: efs.Key{Space: efs.SpaceContents, Bytes: id[:]}})
		}
		t.Unqueue = append(t.Unqueue, r)
	}
	if len(t.Unqueue) == 0 {
		return 0, nil
	}
	fs.dropCached(t.Unqueue) // again: somebody may have read it since it was dropped
	_, err := fs.o.Index.Commit(ctx, &t)
	if err == nil {
		fs.removed.Add(uint64(len(t.Unqueue)))
	}
	return len(t.Unqueue), err
}

// Releases tells how many contents wait to be deleted, counted up to limit, and
// how many were since the file system was opened.
func (fs *FS) Releases(ctx context.Context, limit int) (waiting int, removed uint64, err error) {
	queue, err := fs.o.Index.Queued(ctx, efs.Release{}, limit)
	return len(queue), fs.removed.Load(), err
}
