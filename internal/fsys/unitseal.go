package fsys

import (
	"context"
	"errors"

	"github.com/efs-project/efs"
)

// convertUnit seals what is in a unit for it, until nothing is left that is
// not: directories are moved within it behind its back.
func (fs *FS) convertUnit(ctx context.Context, j *job, u *unit) error {
	rec, _, err := fs.unitRecord(ctx, u)
	if err != nil || rec == nil || !rec.Converting {
		return err // without waiting for another's conversion, which may take long
	}
	fs.erasing.converting.Lock()
	defer fs.erasing.converting.Unlock()
	rec, _, err = fs.unitRecord(ctx, u)
	if err != nil || rec == nil || !rec.Converting {
		return err
	}
	if err := fs.dropUploadsInto(ctx, u); err != nil {
		return err
	}
	for {
		found := 0
		if err := fs.convertTree(ctx, j, u, rec.Dir, &found); err != nil {
			return err
		}
		if found == 0 {
			break
		}
	}
	if j.rec.Problems > 0 {
		return nil
	}
	return retry(func() error {
		rec, version, err := fs.unitRecord(ctx, u)
		if err != nil || rec == nil {
			return err
		}
		rec.Converting = false
		key := unitKey(u.id())
		t := fs.begin(Who{})
		t.t.Checks = append(t.t.Checks, efs.Check{Kind: efs.CheckVersion, Version: version, Key: efs.Key{Space: efs.SpaceMeta, Bytes: key}})
		t.putIn(u, efs.SpaceMeta, key, rec)
		_, err = t.commit(ctx)
		return err
	})
}

// convertTree seals what is in a directory of a unit for it, and counts what
// was not.
func (fs *FS) convertTree(ctx context.Context, j *job, u *unit, dir efs.ID, found *int) error {
	if err := fs.convertNames(ctx, u, dir); err != nil {
		return err
	}
	b := &batch{fs: fs, j: j}
	err := fs.scan(ctx, efs.SpaceEntries, dir[:], scanPage, func(r *efs.Record) error {
		e, of, err := fs.openUnitEntry(r.Key, r.Sealed)
		if errors.Is(err, efs.ErrDamaged) {
			j.problem(fs, efs.ID{}, err)
			return nil
		}
		if err != nil {
			return err
		}
		if e.Kind != efs.KindDir {
			return fs.convertFile(ctx, j, b, u, of, r, e, found)
		}
		if of == nil {
			*found++
			t := fs.begin(Who{})
			t.at = tokens{unit: u}
			t.sealDir(ctx, u, entryKey(r.Key), r.Version, e)
			if _, err := t.commit(ctx); errors.Is(err, efs.ErrConflict) {
				return nil // the next pass sees
			} else if err != nil {
				return err
			}
		}
		return fs.convertTree(ctx, j, u, e.File, found)
	})
	if err != nil {
		return err
	}
	return b.flush(ctx)
}

// convertFile seals a file of a unit for it, if it is not.
func (fs *FS) convertFile(ctx context.Context, j *job, b *batch, u, of *unit, r *efs.Record, e *efs.Entry, found *int) error {
	need := of == nil
	for i := 0; !need && i < len(e.Extents); i++ {
		var err error
		if need, err = fs.ofEpoch(ctx, &e.Extents[i]); err != nil {
			return fs.tolerate(ctx, j, r, e, err)
		}
	}
	j.update(func(r *jobRecord) { r.Done++ })
	if !need {
		return nil
	}
	problems := j.rec.Problems
	err := fs.resealEntry(ctx, nil, b, relocation{entry: e, unit: u, convert: true, key: entryKey(r.Key), version: r.Version})
	err = fs.tolerate(ctx, j, r, e, err)
	if j.rec.Problems == problems {
		*found++
	}
	return err
}

// ofEpoch reports whether a content is sealed with keys of an epoch, not of a
// unit.
func (fs *FS) ofEpoch(ctx context.Context, x *efs.Extent) (bool, error) {
	return fs.sealedIn(ctx, x, func(int) bool { return true })
}

// convertNames gives up the sorted names of a directory that are not sealed for
// its unit, to be made anew.
func (fs *FS) convertNames(ctx context.Context, u *unit, dir efs.ID) error {
	recs, err := fs.o.Index.Get(ctx, namesRootKey(dir))
	if err != nil || recs[0].Version == 0 {
		return err
	}
	of, err := fs.unitOfRecord(recs[0].Sealed)
	if err != nil || of.id() == u.id() {
		return err
	}
	fs.large.Drop(dir) // which remembers that it is in no unit
	return fs.rebuildNames(ctx, dir)
}
