package fsys

import (
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
)

// JobConvert is the kind of job that makes erasure units of directories that
// were there before the policy's pattern matched them.
const JobConvert = "erasure-units"

// metaConverted is the key in SpaceMeta of the record that says that every
// directory that matches the policy's pattern is a unit. It is deleted by what
// may make that untrue.
const metaConverted = 'c'

func convertedKey() []byte { return []byte{metaConverted} }

// wantUnits begins a job that makes units of all directories that match the
// policy's pattern, unless they are, or it is under way.
func (fs *FS) wantUnits(ctx context.Context) error {
	fs.policies.Lock()
	defer fs.policies.Unlock()
	return fs.wantUnitsLocked(ctx)
}

func (fs *FS) wantUnitsLocked(ctx context.Context) error {
	policy := fs.policy.Load()
	if policy.ErasureUnit == "" {
		return nil
	}
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceMeta, Bytes: convertedKey()})
	if err != nil || recs[0].Version != 0 {
		return err
	}
	for _, j := range fs.Jobs() {
		if !j.State.Ended() && j.Kind == JobConvert {
			fs.erasing.again.Store(true) // it looks once more before it ends
			return nil
		}
	}
	_, err = fs.addJob(ctx, jobRecord{Kind: JobConvert, Policy: policy.Version})
	return err
}

// convertUnits does a job of kind JobConvert. What of it is done shows in the
// records, so that after a crash it begins anew and finds what is left.
func (fs *FS) convertUnits(ctx context.Context, j *job) error {
	for {
		fs.erasing.again.Store(false)
		pattern := fs.policy.Load().ErasureUnit
		p, err := ParseUnitPattern(pattern)
		if err != nil {
			return fmt.Errorf("%w: %w", errGivenUp, err)
		}
		j.update(func(r *jobRecord) { r.State, r.Pass, r.Done, r.Found = JobRunning, r.Pass+1, 0, 0 })
		if err := fs.convertBelow(ctx, j, fs.o.ID, nil, p); err != nil {
			return err
		}
		if n := j.rec.Problems; n > 0 {
			return fmt.Errorf("%w: %d files or records could not be read and stay under the old keys: run efsctl fsck --deep, restore or delete what it reports; the next start begins again", errGivenUp, n)
		}
		// What is logged of before names what is in units now.
		if err := fs.trimAll(ctx); err != nil {
			return err
		}
		if done, err := fs.converted(ctx, pattern); done || err != nil {
			return err
		}
	}
}

// converted records that all directories are units that the pattern matches,
// unless it was changed meanwhile, or a directory moved below it.
func (fs *FS) converted(ctx context.Context, pattern string) (bool, error) {
	fs.erasing.gate.Lock()
	defer fs.erasing.gate.Unlock()
	if fs.erasing.again.Load() || fs.policy.Load().ErasureUnit != pattern {
		return pattern == "", nil
	}
	t := fs.begin(Who{})
	t.put(efs.SpaceMeta, convertedKey(), pattern)
	_, err := t.commit(ctx)
	return err == nil, err
}

// trimAll drops the change log as far as no follower needs it.
func (fs *FS) trimAll(ctx context.Context) error {
	_, last, err := fs.o.Index.LogBounds(ctx)
	if err != nil {
		return err
	}
	return fs.o.Index.TrimChanges(ctx, last)
}

// convertBelow makes units of the directories below dir, at segs, that the
// pattern matches.
func (fs *FS) convertBelow(ctx context.Context, j *job, dir efs.ID, segs []string, p UnitPattern) error {
	if len(segs) >= len(p.segs) {
		return nil
	}
	return fs.scan(ctx, efs.SpaceEntries, dir[:], scanPage, func(r *efs.Record) error {
		if j.canceled() {
			return errCanceled
		}
		e, u, err := fs.openUnitEntry(r.Key, r.Sealed)
		if isForgotten(err) {
			return nil
		}
		if errors.Is(err, efs.ErrDamaged) {
			j.problem(fs, efs.ID{}, err)
			return nil
		}
		if err != nil || e.Kind != efs.KindDir {
			return err
		}
		at := append(segs[:len(segs):len(segs)], e.Name)
		switch {
		case p.Match(at):
			return fs.convertDir(ctx, j, entryKey(r.Key), at)
		case u == nil && p.Above(at):
			return fs.convertBelow(ctx, j, e.File, at, p)
		}
		return nil
	})
}

// convertDir makes a unit of the directory under key, at segs, and seals what
// is in it for that.
func (fs *FS) convertDir(ctx context.Context, j *job, key entryKey, segs []string) error {
	m := &unitMaker{fs: fs}
	defer m.end(ctx)
	var u *unit
	err := retry(func() (err error) {
		u, err = fs.makeUnit(ctx, m, key, segs)
		return err
	})
	if err != nil || u == nil {
		return err
	}
	return fs.convertUnit(ctx, j, u)
}

// makeUnit makes a unit of the directory under key, at segs, if it is none. It
// returns the unit, nil if the directory is gone. From then on everything that
// is stored in it is sealed for the unit: each transaction checks the place of
// the directory, which is written anew.
func (fs *FS) makeUnit(ctx context.Context, m *unitMaker, key entryKey, segs []string) (*unit, error) {
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceEntries, Bytes: key[:]})
	if err != nil || recs[0].Version == 0 {
		return nil, err
	}
	e, u, err := fs.openUnitEntry(key[:], recs[0].Sealed)
	if isForgotten(err) {
		return nil, nil
	}
	if err != nil || u != nil || e.Kind != efs.KindDir {
		return u, err
	}
	if u, err = m.get(ctx); err != nil {
		return nil, err
	}
	t := fs.begin(Who{})
	t.maker = m
	t.sealDir(ctx, u, key, recs[0].Version, e)
	t.hosts = true
	t.putIn(u, efs.SpaceMeta, unitKey(u.id()), unitRecord{Dir: e.File, Path: join(segs), Created: t.now, Converting: true})
	_, err = t.commit(ctx)
	return u, err
}

// sealDir seals the entry of a directory, in the record of a key and version,
// and its place for a unit.
func (t *txn) sealDir(ctx context.Context, u *unit, key entryKey, version uint64, e *efs.Entry) {
	dir := e.File
	p, gen, err := t.fs.place(ctx, dir)
	if err == nil && p == nil {
		err = fmt.Errorf("directory %s: %w", dir, efs.ErrConflict)
	}
	if err != nil {
		t.fail(err)
		return
	}
	t.t.Checks = append(t.t.Checks,
		efs.Check{Kind: efs.CheckVersion, Version: version, Key: efs.Key{Space: efs.SpaceEntries, Bytes: key[:]}},
		efs.Check{Kind: efs.CheckVersion, Version: gen, Key: efs.Key{Space: efs.SpacePlaces, Bytes: dir[:]}})
	t.entry(u, &key, e)
	t.putIn(u, efs.SpacePlaces, dir[:], *p)
	t.hung = true
}

// convertUnit seals what is in a unit for it, until nothing is left that is
// not: directories are moved within it behind its back.
func (fs *FS) convertUnit(ctx context.Context, j *job, u *unit) error {
	fs.erasing.converting.Lock()
	defer fs.erasing.converting.Unlock()
	rec, _, err := fs.unitRecord(ctx, u)
	if err != nil || rec == nil || !rec.Converting {
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

// ofEpoch reports whether a content is sealed with keys of an epoch.
func (fs *FS) ofEpoch(ctx context.Context, x *efs.Extent) (bool, error) {
	if x.Epoch != 0 {
		return true, nil
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
			if _, ok := fs.o.Keys.EpochOf([16]byte(st.Slots[i].Key)); ok {
				return true, nil
			}
		}
	}
	return false, nil
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

// convertForgotten brings the conversion of a unit that is to be forgotten to
// its end, so that nothing of it is left under other keys. What cannot be read
// stays as it is, and is deleted.
func (fs *FS) convertForgotten(ctx context.Context, u *unit) error {
	if err := fs.convertUnit(ctx, &job{}, u); err != nil {
		return err
	}
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceMeta, Bytes: convertedKey()})
	if err != nil || recs[0].Version != 0 {
		return err
	}
	return fs.trimAll(ctx)
}
