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
	if err := fs.keepAudited(ctx); err != nil {
		return err
	}
	if err := fs.markAudited(ctx); err != nil {
		return err
	}
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
