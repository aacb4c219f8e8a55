package fsys

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/efs-project/efs"
)

// The names of a large directory are kept in order beside its entries, so that
// a page of them costs what the page costs: a log-structured merge tree
// (O'Neil, Cheng, Gawlick, O'Neil, 1996) of sealed blocks. "Listing" in
// docs/index.md specifies it.

// namesLimits says which directories are large and how their names are cut.
type namesLimits struct {
	large int // entries; a directory with more is large
	flush int // changes that wait before they become a run
	fanIn int // runs of a size before they become one of the next
	block int // plaintext of a block, bytes
	chunk int // entries sorted at a time when a directory has become large
}

// A block fills one size of padding.
var defaultNames = namesLimits{large: 4096, flush: 256, fanIn: 4, block: 8<<10 - 1, chunk: 32 << 10}

// knownDirs is how many directories it is known of whether they are large.
const knownDirs = 1 << 14

// What of a directory's names a record holds: the byte after the directory id.
const (
	namesRootTag = iota
	namesChangeTag
	namesRunTag
)

func namesKey(dir efs.ID, tag byte) []byte { return append(dir[:len(dir):len(dir)], tag) }

// namesRootKey is the key of the record that a large directory has.
func namesRootKey(dir efs.ID) efs.Key {
	return efs.Key{Space: efs.SpaceNames, Bytes: namesKey(dir, namesRootTag)}
}

// newChangeKey is a fresh key of a changed name. It begins with the time, so
// that such records are appended.
func newChangeKey(dir efs.ID) []byte {
	id := efs.NewTimeID()
	return append(namesKey(dir, namesChangeTag), id[:]...)
}

// runPrefix is what the keys of a run's blocks begin with.
func runPrefix(dir efs.ID, run uint64) []byte {
	return binary.BigEndian.AppendUint64(namesKey(dir, namesRunTag), run)
}

func blockKey(dir efs.ID, run uint64, level int, number uint64) []byte {
	return binary.BigEndian.AppendUint32(append(runPrefix(dir, run), byte(level)), uint32(number))
}

// runNumber returns the number of the run that a block's key belongs to.
func runNumber(key []byte) (uint64, error) {
	if len(key) != 16+1+8+1+4 {
		return 0, fmt.Errorf("%w: a key of %d bytes for a block of names", efs.ErrDamaged, len(key))
	}
	return binary.BigEndian.Uint64(key[17:]), nil
}

// namesRoot is the record of a large directory in SpaceNames.
type namesRoot struct {
	Next     uint64 `cbor:"1,keyasint"`           // number of the next run
	Building bool   `cbor:"2,keyasint,omitempty"` // not all entries that the directory had are in a run yet
	Cursor   []byte `cbor:"3,keyasint,omitempty"` // key of the last entry that is, while Building
	Runs     []run  `cbor:"4,keyasint,omitempty"` // newest first
}

// namesRoot returns the root record of a directory's names and its version; nil if
// the directory is not large.
func (fs *FS) namesRoot(ctx context.Context, dir efs.ID) (*namesRoot, uint64, error) {
	key := namesRootKey(dir)
	recs, err := fs.o.Index.Get(ctx, key)
	if err != nil || recs[0].Version == 0 {
		return nil, 0, err
	}
	r := new(namesRoot)
	if err := fs.open(key.Space, key.Bytes, recs[0].Sealed, r); err != nil {
		return nil, recs[0].Version, fmt.Errorf("names of directory %s: %w", dir, err)
	}
	return r, recs[0].Version, nil
}

// errNotLarge ends work on the names of a directory that has none any more.
var errNotLarge = fmt.Errorf("%w: the directory is being deleted", efs.ErrNotFound)

// changeRoot changes the root record of a directory's names, together with
// what else change adds to the transaction.
func (fs *FS) changeRoot(ctx context.Context, dir efs.ID, change func(*namesRoot, *txn) error) error {
	return retry(func() error {
		r, version, err := fs.namesRoot(ctx, dir)
		if err != nil {
			return err
		}
		if r == nil {
			return errNotLarge
		}
		t := fs.begin(Who{})
		key := namesRootKey(dir)
		t.t.Checks = append(t.t.Checks, efs.Check{Kind: efs.CheckVersion, Key: key, Version: version})
		if err := change(r, t); err != nil {
			return err
		}
		d, err := fs.dirNames(ctx, dir)
		if err != nil {
			return err
		}
		u, err := fs.unit(d.unit)
		if err != nil {
			return err
		}
		t.putIn(u, key.Space, key.Bytes, r)
		_, err = t.commit(ctx)
		return err
	})
}

// dropNames deletes all that is kept of a directory's names, its root record
// first: from then on nothing is added.
func (fs *FS) dropNames(ctx context.Context, dir efs.ID) error {
	fs.large.Drop(dir)
	return fs.dropRecords(ctx, dir[:])
}

// dropRecords deletes the records of SpaceNames whose keys begin with prefix.
func (fs *FS) dropRecords(ctx context.Context, prefix []byte) error {
	const batch = 256
	for {
		recs, err := fs.o.Index.Scan(ctx, efs.SpaceNames, prefix, nil, batch)
		if err != nil || len(recs) == 0 {
			return err
		}
		t := fs.begin(Who{})
		for i := range recs {
			t.delete(efs.SpaceNames, recs[i].Key)
		}
		if _, err := t.commit(ctx); err != nil {
			return err
		}
	}
}

// dirNames is what a process remembers of a directory, so that a store need
// not ask whether it is large. That it still is, or is not, the transaction
// checks.
type dirNames struct {
	large    bool
	unit     efs.ID       // that the directory belongs to, and its names; zero: none
	hosts    atomic.Bool  // directories of erasure units are in it, so that it never becomes large
	pending  atomic.Int64 // about how many changed names wait to become a run
	written  atomic.Int64 // entries written since it was last counted, while not large
	flushing sync.Mutex
}

func (fs *FS) dirNames(ctx context.Context, dir efs.ID) (*dirNames, error) {
	if d, ok := fs.large.Get(dir); ok {
		return d, nil
	}
	recs, err := fs.o.Index.Get(ctx, namesRootKey(dir), efs.Key{Space: efs.SpacePlaces, Bytes: dir[:]})
	if err != nil {
		return nil, err
	}
	u, err := fs.unitOfRecord(recs[1].Sealed)
	if err != nil {
		return nil, err
	}
	d := &dirNames{large: recs[0].Version != 0, unit: u.id()}
	fs.large.Put(dir, d)
	if d.large { // what the last run may have left to do
		fs.work.flush.add(dir)
		fs.work.merge.add(dir)
	}
	return d, nil
}

// noted is an entry that a transaction writes or deletes.
type noted struct {
	dir   efs.ID
	key   string
	entry *efs.Entry // nil: deleted
	names *dirNames  // of dir; nil where dir is made by the same transaction
	host  bool       // entry is of a unit's directory
}

// note remembers that an entry is written under key; host that it is of the
// directory of an erasure unit.
func (t *txn) note(key *entryKey, e *efs.Entry, host bool) {
	t.noted = append(t.noted, noted{dir: key.dir(), key: sortKey(e.Name, e.Kind), entry: e, host: host})
}

// unlist deletes the entry at s.
func (t *txn) unlist(s *spot) {
	t.delete(efs.SpaceEntries, s.key[:])
	t.noted = append(t.noted, noted{dir: s.key.dir(), key: sortKey(s.entry.Name, s.entry.Kind)})
}

// keepNames adds to the transaction what it changes in the names of large
// directories, and for each directory the check that it is large or is not.
func (t *txn) keepNames(ctx context.Context) error {
	for i := range t.noted {
		n := &t.noted[i]
		if t.makes(n.dir) {
			continue
		}
		d, err := t.expectNames(ctx, n.dir)
		if err != nil {
			return err
		}
		if n.names = d; !d.large {
			continue
		}
		if n.host {
			return t.fs.unsorted(ctx, n.dir)
		}
		u, err := t.fs.unit(d.unit)
		if err != nil {
			return err
		}
		if err := t.changeName(u, n); err != nil {
			return err
		}
	}
	for _, dir := range t.emptied {
		d, err := t.expectNames(ctx, dir)
		if err != nil {
			return err
		}
		if d.large { // names of entries that are gone may be left
			t.put(efs.SpaceMeta, detachedKey(dir), detached{Dir: dir})
		}
	}
	return nil
}

// makes reports whether the transaction makes a directory, among the parents
// of what it is about.
func (t *txn) makes(dir efs.ID) bool {
	for i := len(t.path) - 1; i >= 0 && t.path[i].gen == 0; i-- {
		if t.path[i].id == dir {
			return true
		}
	}
	return false
}

// expectNames adds the check that a directory is large, or is not, as it is
// remembered.
func (t *txn) expectNames(ctx context.Context, dir efs.ID) (*dirNames, error) {
	d, err := t.fs.dirNames(ctx, dir)
	if err != nil {
		return nil, err
	}
	check := efs.Check{Kind: efs.CheckVersion, Key: namesRootKey(dir)}
	if d.large {
		check.Kind = efs.CheckPresent
	}
	t.t.Checks = append(t.t.Checks, check)
	return d, nil
}

// changeName writes the record of a changed name in a directory of a unit.
func (t *txn) changeName(u *unit, n *noted) error {
	var value []byte
	if n.entry != nil {
		var err error
		if value, err = encodeListed(n.entry); err != nil {
			return err
		}
	}
	b := appendItem(nil, "", item{n.key, value})
	defer clear(b)
	clear(value)
	key := newChangeKey(n.dir)
	sealed, err := t.fs.sealRecord(u, efs.SpaceNames, key, b)
	t.raw(efs.SpaceNames, key, sealed)
	return err
}

// namesRefused forgets what was remembered of a directory if that is why the
// transaction was refused.
func (t *txn) namesRefused(err error) {
	var failed *efs.CheckError
	if errors.As(err, &failed) && failed.Check < len(t.t.Checks) {
		if k := t.t.Checks[failed.Check].Key; k.Space == efs.SpaceNames && len(k.Bytes) > 16 {
			t.fs.large.Drop(efs.ID(k.Bytes[:16]))
		}
	}
}

// namesKept asks for the work that the committed transaction has made
// necessary. Where the background is far behind, it does it.
func (t *txn) namesKept(ctx context.Context) {
	l := &t.fs.limits
	for i := range t.noted {
		n := &t.noted[i]
		switch {
		case n.names == nil:
		case !n.names.large:
			if n.entry != nil && n.names.written.Add(1)%int64(max(1, l.large/4)) == 0 {
				t.fs.work.merge.add(n.dir)
			}
		default:
			waiting := int(n.names.pending.Add(1))
			if waiting >= l.flush {
				t.fs.work.flush.add(n.dir)
			}
			if waiting >= 16*l.flush {
				t.fs.report("sorting names", t.fs.flushNames(context.WithoutCancel(ctx), n.dir))
			}
		}
	}
}
