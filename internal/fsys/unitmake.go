package fsys

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/record"
)

// erasing is what is under way with erasure units.
type erasing struct {
	gate       sync.RWMutex // held for reading while a directory is committed under the pattern that was asked
	forgetting sync.Mutex   // held by who brings forgettings to their end
	anyway     bool         // what cannot be read is deleted too; with work.keeping held
	converting sync.Mutex   // held by who seals what is in a unit for it
	again      atomic.Bool  // directories have come to be below the pattern since the job began
}

// unitRecord is the record of a unit in SpaceMeta, sealed for the unit. It
// stays when the directory is deleted, so that what is in backups of it can
// still be forgotten.
type unitRecord struct {
	Dir        efs.ID `cbor:"1,keyasint"`
	Path       string `cbor:"2,keyasint"`           // when it was last made, renamed or deleted by name
	Created    int64  `cbor:"3,keyasint"`           // Unix time, microseconds
	Removed    int64  `cbor:"4,keyasint,omitempty"` // when the directory was deleted
	Converting bool   `cbor:"5,keyasint,omitempty"` // what was in it before is not all sealed for it yet
}

const metaUnit = 'u' // ‖ unit id: the record of a unit

func unitKey(id efs.ID) []byte { return append([]byte{metaUnit}, id[:]...) }

// unitRecord returns the record of a unit and its version; nil if there is
// none.
func (fs *FS) unitRecord(ctx context.Context, u *unit) (*unitRecord, uint64, error) {
	key := unitKey(u.id())
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceMeta, Bytes: key})
	if err != nil || recs[0].Version == 0 {
		return nil, 0, err
	}
	r := new(unitRecord)
	if err := fs.open(efs.SpaceMeta, key, recs[0].Sealed, r); err != nil {
		return nil, 0, fmt.Errorf("record of erasure unit %s: %w", u.id(), err)
	}
	return r, recs[0].Version, nil
}

// unitMaker makes the key of at most one unit for an operation: durably in the
// keyring before the transaction that makes the unit's directory.
type unitMaker struct {
	fs   *FS
	made *unit
	used bool // a directory of it was made, or may have been
}

func (m *unitMaker) get(ctx context.Context) (*unit, error) {
	if m.made != nil {
		return m.made, nil
	}
	m.fs.unitsKnown.made.Store(true)
	id, err := m.fs.o.Keys.CreateUnit(ctx)
	if err == nil {
		m.made, err = m.fs.unit(id)
	}
	if err != nil {
		return nil, fmt.Errorf("making the key of an erasure unit: %w", err)
	}
	return m.made, nil
}

// end removes the key if no directory was made for it. After a crash the key
// stays, and start-up destroys it.
func (m *unitMaker) end(ctx context.Context) {
	if m.made == nil || m.used {
		return
	}
	id := m.made.id()
	m.fs.units.Drop(id)
	if err := m.fs.o.Keys.AbandonUnit(context.WithoutCancel(ctx), id); err != nil {
		m.fs.log.Error("removing the key of an erasure unit that was not made", "unit", id.String(), "error", err)
	}
}

// unitOfDir returns the unit that a directory made at segs belongs to: the one
// of the directory that it is made in, or a unit of its own.
func (t *txn) unitOfDir(ctx context.Context, segs []string) (*unit, error) {
	if t.at.unit != nil {
		return t.at.unit, nil
	}
	p, err := ParseUnitPattern(t.pattern)
	if err != nil || !p.Match(segs) {
		return nil, err
	}
	return t.maker.get(ctx)
}

// home returns the unit that a file stored at s belongs to: the one of its
// directory, or of a directory that is to be made for it.
func (t *txn) home(ctx context.Context, s *spot) (*unit, error) {
	if s.unit != nil || !t.needsUnit(s) {
		return s.unit, nil
	}
	return t.maker.get(ctx)
}

// needsUnit reports whether one of the directories missing above s is to be a
// unit.
func (t *txn) needsUnit(s *spot) bool {
	if s.unit != nil || t.pattern == "" {
		return false
	}
	p, err := ParseUnitPattern(t.pattern)
	t.fail(err)
	n := len(p.segs)
	return n > len(s.segs)-len(s.missing) && n < len(s.segs) && p.Match(s.segs[:n])
}

// host records that dir, at path, is made as the directory of a new unit.
func (t *txn) host(u *unit, dir efs.ID, path string) {
	t.putIn(u, efs.SpaceMeta, unitKey(u.id()), unitRecord{Dir: dir, Path: path, Created: t.now})
	t.hosts = true
}

// unsorted gives up the sorted names of a directory that erasure units come to
// lie in: they would hold the names of several. It returns efs.ErrConflict, as
// the transaction that found it out is to be built anew.
func (fs *FS) unsorted(ctx context.Context, dir efs.ID) error {
	fs.work.merging.Lock()
	defer fs.work.merging.Unlock()
	if err := fs.giveUpNames(ctx, dir); err != errNotLarge {
		return err
	}
	return fmt.Errorf("the names of directory %s: %w", dir, efs.ErrConflict)
}

// giveUpNames deletes the sorted names of a directory for good. It returns
// errNotLarge. Called with merging held.
func (fs *FS) giveUpNames(ctx context.Context, dir efs.ID) error {
	if err := fs.dropNames(ctx, dir); err != nil {
		return err
	}
	d, err := fs.dirNames(ctx, dir)
	if err != nil {
		return err
	}
	d.hosts.Store(true)
	return errNotLarge
}

// hostsUnits looks whether erasure units lie in a directory that belongs to
// none, by a page of its entries.
func (fs *FS) hostsUnits(ctx context.Context, dir efs.ID, d *dirNames) (bool, error) {
	if !d.unit.IsZero() {
		return false, nil
	}
	recs, err := fs.o.Index.Scan(ctx, efs.SpaceEntries, dir[:], nil, scanPage)
	for i := range recs {
		if _, ok := record.UnitTag(recs[i].Sealed); ok {
			d.hosts.Store(true)
		}
	}
	return d.hosts.Load(), err
}
