package fsys

import (
	"context"
	"fmt"

	"github.com/efs-project/efs"
)

// mayMoveDir judges whether the directory at s may go to d without leaving or
// entering an erasure unit: it would have to be sealed anew with all below it.
// The directory of a unit stays one wherever it goes.
func (t *txn) mayMoveDir(s, d *spot) error {
	refuse := func(why string) error {
		return fmt.Errorf("%w: '%s' cannot be moved to '%s': %s: copy it and delete the original", efs.ErrUnitBorder, s.path(), d.path(), why)
	}
	into := d.unit != nil || t.needsUnit(d)
	switch {
	case s.unit != nil && s.unit.id() != d.unit.id():
		return refuse("it would leave its erasure unit, which has keys of its own")
	case s.unit == nil && into:
		return refuse("it would enter an erasure unit, which has keys of its own")
	case s.of != nil:
		return nil
	}
	p, err := ParseUnitPattern(t.pattern)
	if err == nil && p.Match(d.segs) {
		return refuse("it would become an erasure unit, which has keys of its own")
	}
	return err
}

// moveDir gives the directory at s the key and the path of d.
func (t *txn) moveDir(ctx context.Context, s, d *spot, key *entryKey, e *efs.Entry) {
	u, id := s.unitOf(), e.File
	p, _, err := t.fs.place(ctx, id)
	if err == nil && p == nil {
		err = fmt.Errorf("directory %s: %w", id, efs.ErrConflict)
	}
	if err != nil {
		t.fail(err)
		return
	}
	t.hang(u, key, e, p.Own)
	if u != nil && s.unit == nil {
		t.rename(ctx, u, d.path(), 0)
	}
	p2, err := ParseUnitPattern(t.pattern)
	t.fail(err)
	if u == nil && p2.Above(d.segs) {
		t.delete(efs.SpaceMeta, convertedKey()) // what is in it may have to become units
		t.fs.erasing.again.Store(true)
		t.wants = true
	}
	t.changeIn(u, &efs.Change{Op: efs.OpMove, Path: d.path(), From: s.path(), Dir: key.dir(), Before: s.entry, After: e})
}

// removed notes in the record of a unit that its directory is deleted, if dir
// is that, and by which path, if that is known: a directory above may have been
// renamed.
func (t *txn) removed(ctx context.Context, u *unit, dir efs.ID, path string) {
	if u == nil {
		return
	}
	r, _, err := t.fs.unitRecord(ctx, u)
	if err == nil && r != nil && r.Dir == dir {
		t.rename(ctx, u, path, t.now)
	}
	t.fail(err)
}

// rename notes in the record of a unit where its directory is, or, with a time,
// that it was deleted then.
func (t *txn) rename(ctx context.Context, u *unit, path string, removed int64) {
	r, version, err := t.fs.unitRecord(ctx, u)
	if err != nil || r == nil {
		t.fail(err)
		return
	}
	if path != "" {
		r.Path = path
	}
	r.Removed = removed
	key := unitKey(u.id())
	t.t.Checks = append(t.t.Checks, efs.Check{Kind: efs.CheckVersion, Version: version, Key: efs.Key{Space: efs.SpaceMeta, Bytes: key}})
	t.putIn(u, efs.SpaceMeta, key, r)
}

// moveFile gives the file at s the key and the path of d. Across the border of
// an erasure unit its contents have been sealed anew; of each side's change
// only that side's unit can tell.
func (t *txn) moveFile(s, d *spot, key *entryKey, e *efs.Entry, anew *resealed) {
	u, id := t.at.unit, e.File
	if anew != nil {
		anew.replace(t, e)
	}
	t.entry(u, key, e)
	t.putIn(u, efs.SpaceFiles, id[:], key[:])
	if s.unit.id() == u.id() {
		t.changeIn(u, &efs.Change{Op: efs.OpMove, Path: d.path(), From: s.path(), Dir: key.dir(), Before: s.entry, After: e})
		return
	}
	t.changeIn(s.unit, &efs.Change{Op: efs.OpDelete, Path: s.path(), Dir: s.key.dir(), Before: s.entry})
	t.changeIn(u, &efs.Change{Op: efs.OpCreate, Path: d.path(), Dir: key.dir(), After: e})
}
