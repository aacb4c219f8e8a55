package fsys

import (
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
)

// reapBatch is how many entries of a detached directory are deleted at a time,
// to begin with.
const reapBatch = paceFirst

// detached is the record of a directory that was deleted with all below it and
// is to be emptied.
type detached struct {
	Dir  efs.ID `cbor:"1,keyasint"`
	Path string `cbor:"2,keyasint,omitempty"` // that it had; only of one that lies in no erasure unit
}

// child is the path of what was in it, "" if that is not known.
func (d *detached) child(name string) string {
	if d.Path == "" {
		return ""
	}
	return d.Path + "/" + name
}

func detachedKey(dir efs.ID) []byte { return append([]byte{metaDetached}, dir[:]...) }

// reap empties detached directories, a batch at a time, until there are none.
// Directories in them become detached directories of their own, so that depth
// costs nothing. Nothing else writes there: every other transaction checks the
// places of all directories above what it writes, and one of them is gone.
func (fs *FS) reap(ctx context.Context) error {
	for {
		recs, err := fs.o.Index.Scan(ctx, efs.SpaceMeta, []byte{metaDetached}, nil, 1)
		if err != nil || len(recs) == 0 {
			return err
		}
		var d detached
		if err := fs.open(efs.SpaceMeta, recs[0].Key, recs[0].Sealed, &d); err != nil {
			return fmt.Errorf("work record: %w", err)
		}
		if err := fs.reapSome(ctx, d); err != nil {
			return fmt.Errorf("emptying directory %s: %w", d.Dir, err)
		}
	}
}

// reapSome deletes up to a batch of a detached directory's entries, and its
// record with the last of them.
func (fs *FS) reapSome(ctx context.Context, d detached) error {
	return fs.work.reaping.try(func(steps int) error { return fs.reapUpTo(ctx, d, steps) })
}

func (fs *FS) reapUpTo(ctx context.Context, d detached, steps int) error {
	dir := d.Dir
	recs, err := fs.o.Index.Scan(ctx, efs.SpaceEntries, dir[:], nil, steps)
	if err != nil {
		return err
	}
	t := fs.begin(Who{})
	for i := range recs {
		e, u, err := fs.openUnitEntry(recs[i].Key, recs[i].Sealed)
		t.delete(efs.SpaceEntries, recs[i].Key)
		if isForgotten(err) || errors.Is(err, efs.ErrDamaged) && fs.erasing.anyway {
			continue // what belonged to it, fsck finds
		}
		if err != nil {
			return err
		}
		id := e.File
		if e.Kind == efs.KindDir {
			t.delete(efs.SpacePlaces, id[:])
			below := detached{Dir: id}
			if u == nil {
				below.Path = d.child(e.Name)
			}
			t.put(efs.SpaceMeta, detachedKey(id), below)
			t.removed(ctx, u, id, d.child(e.Name))
		} else {
			t.delete(efs.SpaceFiles, id[:])
			t.drop(e, recs[i].Key, recs[i].Version)
		}
	}
	if len(recs) < steps {
		if err := fs.dropNames(ctx, dir); err != nil {
			return err
		}
		t.delete(efs.SpaceMeta, detachedKey(dir))
	}
	_, err = t.commit(ctx)
	return err
}
