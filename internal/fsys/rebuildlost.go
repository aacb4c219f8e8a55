package fsys

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
)

// A journal of which a part is lost in the middle leaves records that do not lead to
// each other: directories without a place or without an entry, files whose ids
// lead nowhere. Each is made anew from the other; what is known by what lies in
// it alone is put below RecoveredDir.

// reattach makes anew what is lost of the tree.
func (r *rebuild) reattach() error {
	if !r.lossy {
		return nil
	}
	inside := map[efs.ID]bool{} // directories that something lies in; whether that belongs to a unit
	for _, step := range []func(map[efs.ID]bool) error{r.lostPlaces, r.lostEntries, r.lostDirs, r.lostFiles} {
		if err := step(inside); err != nil {
			return err
		}
	}
	return nil
}

// mend commits records that were lost.
func (r *rebuild) mend(t *txn) error {
	_, err := t.commit(r.ctx)
	r.report.Mended++
	return err
}

// lostPlaces makes the places of directories, and the ids of files, that only
// their entries know.
func (r *rebuild) lostPlaces(inside map[efs.ID]bool) error {
	return r.fs.scan(r.ctx, efs.SpaceEntries, nil, scanPage, func(rec *efs.Record) error {
		e, u, err := r.fs.openUnitEntry(rec.Key, rec.Sealed)
		if isForgotten(err) || errors.Is(err, efs.ErrDamaged) || len(rec.Key) != len(entryKey{}) {
			return nil // fsck tells of them
		}
		if err != nil {
			return err
		}
		key := entryKey(rec.Key)
		inside[key.dir()] = inside[key.dir()] || u != nil
		space := efs.SpaceFiles
		if e.Kind == efs.KindDir {
			space = efs.SpacePlaces
		}
		known, err := r.fs.o.Index.Get(r.ctx, efs.Key{Space: space, Bytes: e.File[:]})
		if err != nil || known[0].Version != 0 {
			return err
		}
		t := r.fs.begin(Who{})
		if e.Kind == efs.KindDir {
			own, err := r.ownTokens(u, e.File)
			if err != nil {
				return err
			}
			t.putIn(u, space, e.File[:], place{Parent: key.dir(), Name: e.Name, Own: own})
		} else {
			t.putIn(u, space, e.File[:], key[:])
		}
		return r.mend(t)
	})
}

// ownTokens reports whether names in a directory of a unit have tokens of the
// unit's: something that lies in it tells.
func (r *rebuild) ownTokens(u *unit, dir efs.ID) (bool, error) {
	if u == nil {
		return false, nil
	}
	recs, err := r.fs.o.Index.Scan(r.ctx, efs.SpaceEntries, dir[:], nil, 1)
	if err != nil || len(recs) == 0 {
		return true, err // as of one that is made now
	}
	e, err := r.fs.openEntry(recs[0].Key, recs[0].Sealed)
	if err != nil {
		return true, nil // fsck tells of it
	}
	key, err := r.fs.entryKey(tokens{u, true}, dir, e.Name)
	return string(key[:]) == string(recs[0].Key), err
}

// lostEntries makes the entries of directories that only their places know.
func (r *rebuild) lostEntries(inside map[efs.ID]bool) error {
	return r.fs.scan(r.ctx, efs.SpacePlaces, nil, scanPage, func(rec *efs.Record) error {
		id, err := keyID(rec.Key)
		if err != nil || id == r.fs.o.ID {
			return nil // fsck tells of it
		}
		p, u, err := r.fs.openPlace(id, rec.Sealed)
		if isForgotten(err) || errors.Is(err, efs.ErrDamaged) {
			return nil
		}
		if err != nil {
			return err
		}
		inside[p.Parent] = inside[p.Parent] || u != nil
		in, err := r.fs.tokensOf(r.ctx, p.Parent)
		if err != nil {
			return err
		}
		return r.hangBack(id, u, p, in)
	})
}

// hangBack makes the entry of a directory where its place says that it hangs,
// unless it is there, or another one.
func (r *rebuild) hangBack(id efs.ID, u *unit, p place, in tokens) error {
	key, err := r.fs.entryKey(in, p.Parent, p.Name)
	if err != nil {
		return err
	}
	recs, err := r.fs.o.Index.Get(r.ctx, efs.Key{Space: efs.SpaceEntries, Bytes: key[:]})
	if err != nil || recs[0].Version != 0 {
		return err
	}
	t := r.fs.begin(Who{})
	t.at = in
	e := t.newDir(p.Name)
	e.File = id
	t.hang(u, &key, e, p.Own)
	return r.mend(t)
}

// lostDirs puts directories below RecoveredDir that only what lies in them knows.
// Those of erasure units stay away: outside of their units nobody may see them.
func (r *rebuild) lostDirs(inside map[efs.ID]bool) error {
	for dir, ofUnit := range inside {
		known, err := r.isHung(dir)
		if err != nil {
			return err
		}
		if known || ofUnit {
			continue
		}
		to, err := r.recoveredDir()
		if err != nil {
			return err
		}
		if err := r.hangBack(dir, nil, place{Parent: to, Name: dir.String()}, tokens{}); err != nil {
			return fmt.Errorf("directory %s: %w", dir, err)
		}
	}
	return nil
}

// isHung reports whether a directory has a place, or was deleted with all below
// it and is to be emptied.
func (r *rebuild) isHung(dir efs.ID) (bool, error) {
	recs, err := r.fs.o.Index.Get(r.ctx, efs.Key{Space: efs.SpacePlaces, Bytes: dir[:]})
	if err != nil || recs[0].Version != 0 {
		return true, err
	}
	return (&checker{fs: r.fs, ctx: r.ctx}).isDetached(dir)
}

// recoveredDir returns the id of RecoveredDir, which it makes where it is
// missing.
func (r *rebuild) recoveredDir() (efs.ID, error) {
	e, err := r.fs.Stat(r.ctx, RecoveredDir)
	if errors.Is(err, efs.ErrNotFound) {
		e, err = r.fs.Mkdir(r.ctx, RecoveredDir, MkdirOptions{})
	}
	if err == nil && e.Kind != efs.KindDir {
		err = fmt.Errorf("%w: '%s'", efs.ErrNotDir, RecoveredDir)
	}
	return e.File, err
}

// lostFiles deletes the ids of files that lead to no entry: what they were of is
// found by its contents, and gets its id back.
func (r *rebuild) lostFiles(map[efs.ID]bool) error {
	return r.fs.scan(r.ctx, efs.SpaceFiles, nil, scanPage, func(rec *efs.Record) error {
		id, err := keyID(rec.Key)
		if err != nil {
			return nil // fsck tells of it
		}
		e, err := r.fs.byFile(r.ctx, id)
		if isForgotten(err) || errors.Is(err, efs.ErrDamaged) || e != nil {
			return nil
		}
		if err != nil {
			return err
		}
		t := r.fs.begin(Who{})
		t.delete(efs.SpaceFiles, id[:])
		return r.mend(t)
	})
}

// smallStrangers looks for small contents, which lie in the index, whose entries
// were lost.
func (r *rebuild) smallStrangers() error {
	if !r.lossy {
		return nil
	}
	return r.fs.scan(r.ctx, efs.SpaceInline, nil, scanPage, func(rec *efs.Record) error {
		id, err := keyID(rec.Key)
		if err != nil {
			return nil // fsck tells of it
		}
		known, err := r.fs.isLeased(r.ctx, id)
		if err == nil && !known {
			known, err = (&checker{fs: r.fs, ctx: r.ctx}).inlineInUse(id, rec.Sealed)
		}
		if known || isForgotten(err) {
			return nil
		}
		if err != nil {
			return err
		}
		s, err := r.fs.strangerOf(id, bytes.NewReader(rec.Sealed), int64(len(rec.Sealed)))
		if errors.Is(err, efs.ErrDamaged) {
			return nil
		}
		if err != nil {
			return err
		}
		if e, err := r.fs.byFile(r.ctx, s.Recovery.File); err != nil || e != nil && e.Version >= s.Recovery.Version {
			return err
		}
		s.inline = true
		r.found = append(r.found, *s)
		return nil
	})
}
