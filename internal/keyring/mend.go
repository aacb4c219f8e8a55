package keyring

import (
	"bytes"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	bolt "go.etcd.io/bbolt"
)

// wares are what a store has of a file system, as far as it can be read,
// unproven.
type wares struct {
	fs        efs.ID
	manifest  *manifest // nil: unreadable, or none
	body, sum []byte
	records   map[efs.ID]keyRecord
	units     map[efs.ID]*unitRecord
	anchor    []byte
	access    []byte       // its second part (AnchorAccess)
	recovery  []storedItem // unproven
	damaged   bool         // something could not be read
}

func (r *Keyring) wares(fs efs.ID) (*wares, error) {
	w := &wares{fs: fs, records: map[efs.ID]keyRecord{}, units: map[efs.ID]*unitRecord{}}
	var err error
	if w.recovery, err = r.recoveryItems(fs); err != nil {
		return nil, err
	}
	return w, r.store.view(func(tx *bolt.Tx) error {
		m, body, sum, err := parseManifest(bytes.Clone(tx.Bucket(bucketFS).Get(fs[:])))
		if err == nil && m.FS == fs {
			w.manifest, w.body, w.sum = m, body, sum
		}
		w.anchor = bytes.Clone(tx.Bucket(bucketAnchors).Get(fs[:]))
		w.access = bytes.Clone(tx.Bucket(bucketAnchors).Get(accessPlace(fs)))
		c := tx.Bucket(bucketKeys).Cursor()
		for place, b := c.Seek(fs[:]); bytes.HasPrefix(place, fs[:]); place, b = c.Next() {
			var rec keyRecord
			if decode(b, &rec) != nil || !bytes.Equal(place, keyPlace(fs, rec.ID)) {
				w.damaged = true
				continue
			}
			rec.Wrapped = bytes.Clone(rec.Wrapped)
			w.records[rec.ID] = rec
		}
		c = tx.Bucket(bucketUnits).Cursor()
		for place, b := c.Seek(fs[:]); bytes.HasPrefix(place, fs[:]); place, b = c.Next() {
			rec := new(unitRecord)
			if decode(b, rec) != nil || !bytes.Equal(place, keyPlace(fs, rec.ID)) {
				w.damaged = true
				continue
			}
			w.units[rec.ID] = rec
		}
		return nil
	})
}

// allGood is nil if every key of a file system opens.
func (r *Keyring) allGood(ctx context.Context, w *wares) error {
	k, err := r.load(w.fs)
	if err != nil {
		return err
	}
	defer k.destroy(errClosed)
	if err := k.set().verify(ctx); err != nil {
		return err
	}
	for _, l := range k.all() {
		if err := l.alive(ctx); err != nil {
			return err
		}
	}
	for _, rec := range w.units {
		if err := rec.opens(ctx, k.set()); err != nil {
			return err
		}
	}
	if w.damaged {
		return fmt.Errorf("%w: unreadable record", efs.ErrDamaged)
	}
	return nil
}

// opens is nil if a unit's key opens, or was destroyed.
func (r *unitRecord) opens(ctx context.Context, s *keyset) error {
	if r.State == stateDestroyed {
		return nil
	}
	key, err := r.open(ctx, s.keysOf(r.Epoch))
	secret.Wipe(key)
	return err
}

// mending puts what is good of a file system's keys in two stores together.
type mending struct {
	ring        *Keyring
	keys        *Keys // of the backup, proven
	here, there *wares
	records     map[efs.ID]keyRecord
	units       []*unitRecord
	next        *keyset
}

// mend decides what is stored. The root key is the same for the life of the
// file system, so the backup's proves the manifest that is here.
func (f *mending) mend(ctx context.Context) error {
	old := f.keys.set()
	m, err := f.manifest(ctx, old)
	if err != nil {
		return err
	}
	if err := f.epochs(ctx, m, old); err != nil {
		return err
	}
	if err := f.roots(ctx, m, old); err != nil {
		return err
	}
	if f.next, err = f.ring.keysetOf(m, f.records, nil); err != nil {
		return err
	}
	defer func() {
		for _, l := range f.next.all() {
			l.destroy(errClosed)
		}
	}()
	if err := f.next.sign(ctx, old); err != nil {
		return err
	}
	if err := f.next.verify(ctx); err != nil {
		return err
	}
	return f.mendUnits(ctx)
}

// manifest is the one that is here, if it is proven; else that of the backup,
// without epochs that are known here to be destroyed, and with those, to read
// with, whose keys only are here.
func (f *mending) manifest(ctx context.Context, old *keyset) (*manifest, error) {
	key, err := old.root(ctx, purposeManifest)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(key)
	if f.here.manifest != nil && hmac.Equal(tag(key, f.here.body), f.here.sum) {
		return f.here.manifest.clone(), nil
	}
	m := old.manifest.clone()
	if said := f.here.manifest; said != nil {
		m.Epochs = slices.DeleteFunc(m.Epochs, func(e epoch) bool { return e.Number <= said.Newest && said.find(e.Number) < 0 })
	}
	later := map[int][]keyRecord{}
	for _, rec := range f.here.records {
		if rec.Kind == kindEpoch && rec.Epoch > m.Newest {
			later[rec.Epoch] = append(later[rec.Epoch], rec)
		}
	}
	for _, number := range slices.Sorted(maps.Keys(later)) {
		e := epoch{Number: number, State: stateRetired}
		slices.SortFunc(later[number], func(a, b keyRecord) int { return a.Stage - b.Stage })
		for _, rec := range later[number] {
			e.Keys = append(e.Keys, rec.ID)
		}
		m.Epochs = append(m.Epochs, e)
		m.Newest = number // of which nothing is sealed: epochs makes another
	}
	return m, nil
}

// good returns the record of a key, from here or from the backup, that opens.
func (f *mending) good(ctx context.Context, id efs.ID, kd kind, stage, number int) (ok bool, err error) {
	for _, w := range []*wares{f.here, f.there} {
		rec, found := w.records[id]
		if !found || rec.FS != w.fs || rec.Kind != kd || rec.Purpose != string(kd) || rec.Stage != stage || rec.Epoch != number || rec.State != stateLive {
			continue
		}
		l := f.ring.newLive(rec)
		err := l.alive(ctx)
		l.destroy(errClosed)
		if noAnswer(err) {
			return false, err
		}
		if err == nil {
			f.records[id] = rec
			return true, nil
		}
	}
	return false, nil
}

// epochs leaves those whose keys are good, and makes a newest one if that is
// not among them.
func (f *mending) epochs(ctx context.Context, m *manifest, old *keyset) error {
	all := m.Epochs
	m.Epochs = nil
	for _, e := range all {
		whole := len(e.Keys) > 0
		for i, id := range e.Keys {
			ok, err := f.good(ctx, id, kindEpoch, i, e.Number)
			if err != nil {
				return err
			}
			whole = whole && ok
		}
		if whole {
			m.Epochs = append(m.Epochs, e)
		} else {
			for _, id := range e.Keys {
				delete(f.records, id)
			}
			f.ring.log.Error("keys are lost: neither here nor in the backup are they good", "fs", m.FS, "epoch", e.Number)
		}
	}
	if i := m.find(m.Newest); i >= 0 && m.Epochs[i].State == stateLive {
		return nil
	}
	stages := old.newest().stages()
	if n := len(m.Epochs); n > 0 {
		stages = f.stages(m.Epochs[n-1])
	}
	return f.keys.addEpoch(ctx, m, stages, f.records)
}

// stages are the sources of an epoch's keys.
func (f *mending) stages(e epoch) (stages []efs.StagePolicy) {
	for _, id := range e.Keys {
		rec := f.records[id]
		stages = append(stages, efs.StagePolicy{Provider: rec.Provider, KeyID: rec.Master})
	}
	return stages
}

// roots leaves the root secrets if they are good, else splits the root key of
// the backup anew, under what wraps the newest epoch.
func (f *mending) roots(ctx context.Context, m *manifest, old *keyset) error {
	whole := len(m.Roots) > 0
	for i, id := range m.Roots {
		ok, err := f.good(ctx, id, kindRoot, i, 0)
		if err != nil {
			return err
		}
		whole = whole && ok
	}
	if whole {
		return nil
	}
	for _, id := range m.Roots {
		delete(f.records, id)
	}
	stages := f.stages(m.Epochs[m.find(m.Newest)])
	return f.keys.resplitRoot(ctx, old, m, stages, f.records)
}

// mendUnits takes each unit from where it opens. One that is known anywhere to
// be destroyed stays so.
func (f *mending) mendUnits(ctx context.Context) error {
	ids := maps.Clone(f.there.units)
	maps.Copy(ids, f.here.units)
	for id := range ids {
		var have []*unitRecord
		for _, w := range []*wares{f.here, f.there} {
			if rec := w.units[id]; rec != nil {
				have = append(have, rec)
			}
		}
		best := have[0] // if none opens, it is at least known that there was one
		for _, rec := range slices.Backward(have) {
			err := rec.opens(ctx, f.next)
			if noAnswer(err) {
				return err
			}
			if err == nil && best.State != stateDestroyed {
				best = rec
			}
		}
		f.units = append(f.units, best)
	}
	return nil
}

// put stores what was decided in place of what is here. The anchor that is here
// is newer.
func (f *mending) put(tx *bolt.Tx) error {
	fs := f.here.fs
	if err := dropAll(tx, fs); err != nil {
		return err
	}
	anchor, access := f.here.anchor, f.here.access
	if anchor == nil {
		anchor, access = f.there.anchor, f.there.access
	}
	// The recovery recipient's copies of keys; those that do not fit are made
	// anew by SetRecovery.
	errs := []error{putKeyset(tx, f.next, f.records), copyItems(tx, f.next, slices.Concat(f.there.recovery, f.here.recovery))}
	if anchor != nil {
		errs = append(errs, tx.Bucket(bucketAnchors).Put(fs[:], anchor))
	}
	if access != nil {
		errs = append(errs, tx.Bucket(bucketAnchors).Put(accessPlace(fs), access))
	}
	for _, rec := range f.units {
		errs = append(errs, rec.put(tx))
	}
	return errors.Join(errs...)
}
