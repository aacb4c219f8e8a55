package fsys

import (
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
)

// txn builds an index transaction. Its methods keep the first error; commit
// returns it.
type txn struct {
	fs  *FS
	now int64
	who string
	t   efs.Txn
	use efs.Usage // of the file system

	quotas *quotas // that it began with
	epoch  int     // of the keys of a content that was sealed just for it; 0: none
	counts bool    // it changes what is in use, or whose records say so
	owned  []owned // of users who have a quota
	held   []held  // by uploads of theirs

	err  error
	path chain // directories made: for the path cache once committed
	segs []string

	at      tokens     // of the directory that is made or written into
	maker   *unitMaker // of the key of a unit whose directory is made
	pattern string     // of erasure units, that directories were made by
	hung    bool       // directories were made or moved
	hosts   bool       // and one of them is a new unit's
	wants   bool       // what was moved may have to become units

	cause *Cause // of the request; nil: there is none, or an earlier transaction has told of it

	lastChange *efs.Change // logged last and not sealed yet; nil: all are
	lastUnit   *unit       // of it

	noted   []noted  // entries written and deleted: for the names of large directories
	emptied []efs.ID // empty directories that are deleted
}

func (fs *FS) begin(who Who) *txn {
	t := &txn{fs: fs, now: fs.now(), who: who.User, quotas: fs.quotas.Load(), pattern: fs.policy.Load().ErasureUnit}
	if who.Cause != nil && who.Cause.seq == 0 {
		t.cause = who.Cause
	}
	return t
}

func (t *txn) fail(err error) {
	if t.err == nil && err != nil {
		t.err = err
	}
}

// pin demands that s still be as it was read: every directory of its path in
// its place, and the record under its key unchanged. That no directory is
// detached or moved under a write rests on this.
func (t *txn) pin(s *spot) {
	t.pinDirs(s.chain)
	t.t.Checks = append(t.t.Checks, efs.Check{
		Kind: efs.CheckVersion, Version: s.version,
		Key: efs.Key{Space: efs.SpaceEntries, Bytes: s.key[:]},
	})
}

func (t *txn) pinDirs(c chain) {
	for i := range c {
		t.t.Checks = append(t.t.Checks, efs.Check{
			Kind: efs.CheckVersion, Version: c[i].gen,
			Key: efs.Key{Space: efs.SpacePlaces, Bytes: c[i].id[:]},
		})
	}
}

// none demands that no record of a space begin with prefix, and returns the
// number of the check.
func (t *txn) none(space efs.Space, prefix []byte) int {
	t.t.Checks = append(t.t.Checks, efs.Check{Kind: efs.CheckNoneUnder, Key: efs.Key{Space: space, Bytes: prefix}})
	return len(t.t.Checks) - 1
}

// put seals v under key; delete removes the record.
func (t *txn) put(space efs.Space, key []byte, v any) { t.putIn(nil, space, key, v) }

// putIn is put for a record of a unit.
func (t *txn) putIn(u *unit, space efs.Space, key []byte, v any) {
	sealed, err := t.fs.seal(u, space, key, v)
	t.fail(err)
	t.raw(space, key, sealed)
}

// raw writes what is sealed already.
func (t *txn) raw(space efs.Space, key, sealed []byte) {
	t.t.Mutations = append(t.t.Mutations, efs.Mutation{Key: efs.Key{Space: space, Bytes: key}, Sealed: sealed})
}

func (t *txn) delete(space efs.Space, key []byte) {
	t.t.Mutations = append(t.t.Mutations, efs.Mutation{Key: efs.Key{Space: space, Bytes: key}})
}

// entry writes the entry e of a unit under key, and notes it for the names of
// its directory.
func (t *txn) entry(u *unit, key *entryKey, e *efs.Entry) {
	t.note(key, e, u != nil && t.at.unit == nil)
	t.putIn(u, efs.SpaceEntries, key[:], e)
}

// change logs c, with the time and the user of the transaction.
func (t *txn) change(c *efs.Change) { t.changeIn(nil, c) }

// changeIn is change for what lies in a unit, which alone can tell of it.
func (t *txn) changeIn(u *unit, c *efs.Change) {
	c.Time, c.User = t.now, t.who
	if t.cause == nil {
		t.sealChange(u, c)
		return
	}
	t.sealLast()
	t.lastUnit, t.lastChange = u, c
}

// sealLast seals the change that was logged last: only then it is known
// whether it is the last of the transaction, which tells of the request.
func (t *txn) sealLast() {
	if c := t.lastChange; c != nil {
		t.lastChange = nil
		t.sealChange(t.lastUnit, c)
	}
}

func (t *txn) sealChange(u *unit, c *efs.Change) {
	b, err := encodeChange(c)
	if err != nil {
		t.fail(fmt.Errorf("encoding a change: %w", err))
		return
	}
	defer clear(b)
	sealChange := t.fs.sealer.SealChange
	if u != nil {
		sealChange = u.rec.SealChange
	}
	sealed, err := sealChange(b)
	t.fail(err)
	t.t.Changes = append(t.t.Changes, sealed)
}

// drop gives back what a file's entry holds: its contents to the release
// queue, its use. The entry is in the record of the given key and version.
func (t *txn) drop(e *efs.Entry, key []byte, version uint64) {
	for _, x := range e.Extents {
		t.t.Release = append(t.t.Release, efs.Release{Content: x.Content, Inline: x.Inline})
	}
	t.lose(e, key, version)
}

// parents makes the missing directories before the entry of s and returns the
// key of that entry. From then on t.at is of the directory that holds it.
func (t *txn) parents(ctx context.Context, s *spot) *entryKey {
	t.at = s.tokens
	key := s.key
	depth := len(s.segs) - len(s.missing)
	t.path, t.segs = s.chain[:len(s.chain):len(s.chain)], s.segs
	for i, name := range s.missing[:len(s.missing)-1] {
		e := t.newDir(name)
		u := t.makeDir(ctx, &key, e, s.segs[:depth+i+1])
		dir := e.File
		t.at = tokens{u, u != nil}
		t.path = append(t.path, dirNode{id: dir, unit: u.id(), own: t.at.own})
		var err error
		key, err = t.fs.entryKey(t.at, dir, s.missing[i+1])
		t.fail(err)
	}
	return &key
}

func (t *txn) newDir(name string) *efs.Entry {
	return &efs.Entry{
		File: efs.NewID(), Kind: efs.KindDir, Version: 1, ETag: newETag(),
		Created: t.now, Modified: t.now, Owner: t.who, Name: name,
	}
}

// makeDir makes the directory e, at segs, under key, and returns the unit that
// it belongs to.
func (t *txn) makeDir(ctx context.Context, key *entryKey, e *efs.Entry, segs []string) *unit {
	u, err := t.unitOfDir(ctx, segs)
	t.fail(err)
	t.hang(u, key, e, u != nil)
	t.changeIn(u, &efs.Change{Op: efs.OpCreate, Path: join(segs), Dir: key.dir(), After: e})
	if u != nil && t.at.unit == nil {
		t.host(u, e.File, join(segs))
	}
	return u
}

// hang writes the entry of a directory, of a unit, under key, and its place.
func (t *txn) hang(u *unit, key *entryKey, e *efs.Entry, own bool) {
	k := *key // mutations keep it
	t.entry(u, &k, e)
	id := e.File
	t.putIn(u, efs.SpacePlaces, id[:], place{Parent: k.dir(), Name: e.Name, Own: own})
	t.hung = true
}

// commit commits what was built. After efs.ErrConflict nothing was changed and
// what was read is to be read again.
func (t *txn) commit(ctx context.Context) (efs.Committed, error) {
	if t.err == nil {
		t.err = t.keepNames(ctx)
	}
	if t.err != nil {
		return efs.Committed{}, t.err
	}
	c, err := t.caused(ctx)
	if err != nil {
		t.namesRefused(err)
		return c, err
	}
	t.namesKept(ctx)
	if len(t.t.Release) > 0 {
		t.fs.dropCached(t.t.Release)
		t.fs.kickReleases()
	}
	t.remember(c.Revision)
	return c, nil
}

// commitCharged commits with what the transaction uses. Meanwhile no quota
// changes.
func (t *txn) commitCharged(ctx context.Context) (efs.Committed, error) {
	t.fs.accounting.RLock()
	defer t.fs.accounting.RUnlock()
	if err := t.charge(); err != nil {
		return efs.Committed{}, err
	}
	ctx, span := t.fs.o.Tracer.Step(ctx, "index.Commit")
	span.Number("efs.index.mutations", int64(len(t.t.Mutations)))
	c, err := t.fs.o.Index.Commit(ctx, &t.t)
	span.EndWith(err)
	return c, err
}

// finish commits what was built. Directories are made and moved under the
// pattern of erasure units that was asked: one that is set meanwhile finds all
// that were made under the one before.
func (t *txn) finish(ctx context.Context) (efs.Committed, error) {
	if t.hung {
		t.fs.erasing.gate.RLock()
		defer t.fs.erasing.gate.RUnlock()
		if t.pattern != t.fs.policy.Load().ErasureUnit {
			return efs.Committed{}, fmt.Errorf("the pattern of erasure units: %w", efs.ErrConflict)
		}
	}
	c, err := t.commitCharged(ctx)
	if t.hosts {
		t.maker.used = t.maker.used || err == nil || errors.Is(err, efs.ErrStopped)
	}
	return c, err
}

// remember caches the directories that the transaction made. Their generation
// is the revision that made them.
func (t *txn) remember(revision uint64) {
	for i := range t.path {
		if t.path[i].gen == 0 {
			t.path[i].gen = revision
			t.fs.rememberPath(t.segs, i+1, t.path[:i+1:i+1])
		}
	}
}

// retry calls try until it ends otherwise than by efs.ErrConflict: what it
// read had changed before it could commit.
func retry(try func() error) error {
	for range maxTries {
		if err := try(); !errors.Is(err, efs.ErrConflict) {
			return err
		}
	}
	return errBusy
}
