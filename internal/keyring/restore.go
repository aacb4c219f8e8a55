package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
	bolt "go.etcd.io/bbolt"
)

// Restored tells what Restore did.
type Restored struct {
	Copy     Copy     `json:"copy"`
	Restored []efs.ID `json:"restored"` // file systems whose keys came from the backup
	Kept     []efs.ID `json:"kept"`     // those whose keys are here and good
	Missing  []efs.ID `json:"missing"`  // those of which neither has usable keys
}

// Restore takes the keys of those of the given file systems that have no
// usable keys here from a backup. Where keys are here and good, they stay:
// they are newer. What is known here to be destroyed stays so: units whose
// tombstones are here, and epochs that are gone. One transaction. Errors:
// efs.ErrRefused (it has expired), efs.ErrWrongKey (of another root),
// efs.ErrDamaged.
func (r *Keyring) Restore(ctx context.Context, src io.Reader, root efs.ID, kek seal.KEK, fs []efs.ID) (Restored, error) {
	r.loading.Lock()
	defer r.loading.Unlock()
	done, err := r.restore(ctx, src, root, kek, fs)
	if err != nil {
		return Restored{}, fmt.Errorf("restoring keys: %w", err)
	}
	return done, nil
}

func (r *Keyring) restore(ctx context.Context, src io.Reader, root efs.ID, kek seal.KEK, fs []efs.ID) (done Restored, err error) {
	path := r.store.beside(restoreSuffix)
	defer func() { err = errors.Join(err, removeOverwritten(path)) }()
	if done.Copy, err = openBackup(path, src, root, kek); err != nil {
		return done, backupError(err)
	}
	if !r.life.now().Before(done.Copy.Expires) {
		return done, fmt.Errorf("%w: this backup expired on %s: what was destroyed since it was made is to stay so",
			efs.ErrRefused, done.Copy.Expires.Format(time.RFC3339))
	}
	old, err := openStore(path)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, old.close()) }()
	var puts []func(*bolt.Tx) error
	for _, id := range fs {
		put, kept, err := r.plan(ctx, old, id)
		switch {
		case kept:
			done.Kept = append(done.Kept, id)
		case errors.Is(err, efs.ErrUnavailable), errors.Is(err, efs.ErrRefused):
			return done, err // nobody knows now whether the keys are good
		case err != nil:
			r.log.Warn("a backup of keys has none for a file system", "fs", id, "err", err)
			done.Missing = append(done.Missing, id)
		default:
			puts = append(puts, put)
			done.Restored = append(done.Restored, id)
		}
	}
	err = r.store.update(func(tx *bolt.Tx) error {
		for _, put := range puts {
			if err := put(tx); err != nil {
				return err
			}
		}
		return mergeCopies(tx, old, r.life.now())
	})
	if err == nil {
		err = r.store.finishScrub()
	}
	return done, err
}

func backupError(err error) error {
	switch {
	case errors.Is(err, seal.ErrNoKey):
		return fmt.Errorf("%w: the backup was sealed by another root: put the server's directory back that it belongs to (%w)", efs.ErrWrongKey, err)
	case errors.Is(err, seal.ErrTampered), errors.Is(err, seal.ErrFormat), errors.Is(err, seal.ErrTruncated):
		return fmt.Errorf("%w: this is no backup of keys, or it was changed (%w)", efs.ErrDamaged, err)
	}
	return err
}

// plan looks at one file system: its keys here are kept if they are good; else
// put stores those of the backup, without what was destroyed since.
func (r *Keyring) plan(ctx context.Context, old *store, fs efs.ID) (put func(*bolt.Tx) error, kept bool, err error) {
	here, err := r.load(fs)
	if err == nil {
		err = here.set().verify(ctx)
		here.destroy(errClosed)
	}
	switch {
	case err == nil:
		return nil, true, nil
	case errors.Is(err, efs.ErrUnavailable), errors.Is(err, efs.ErrRefused):
		return nil, false, err
	}
	gone := &destroyed{}
	if err := r.store.view(func(tx *bolt.Tx) error { return gone.read(tx, fs) }); err != nil {
		return nil, false, err
	}
	back := &Keyring{store: old, kms: r.kms, life: r.life, log: r.log}
	k, err := back.load(fs)
	if err != nil {
		return nil, false, err
	}
	defer k.destroy(errClosed)
	if err := k.set().verify(ctx); err != nil {
		return nil, false, err
	}
	s, err := back.without(ctx, k.set(), gone)
	if err != nil {
		return nil, false, err
	}
	var records []stored
	err = old.view(func(tx *bolt.Tx) error {
		var err error
		records, err = recordsOf(tx, s, gone)
		return err
	})
	return func(tx *bolt.Tx) error { return replaceRecords(tx, s, records, gone) }, false, err
}

// stored is a record and where it lies.
type stored struct{ bucket, key, value []byte }

func (r stored) put(tx *bolt.Tx) error { return tx.Bucket(r.bucket).Put(r.key, r.value) }

// storedAt returns a copy of the record at key, if there is one.
func storedAt(tx *bolt.Tx, bucket, key []byte) []stored {
	value := tx.Bucket(bucket).Get(key)
	if value == nil {
		return nil
	}
	return []stored{{bucket, key, bytes.Clone(value)}}
}

// destroyed is what is known here of a file system to be destroyed.
type destroyed struct {
	newest int          // epochs up to here that are not live were destroyed; 0: nothing is known
	live   map[int]bool //
	units  []efs.ID     // by tombstone
}

func (d *destroyed) read(tx *bolt.Tx, fs efs.ID) error {
	d.live = map[int]bool{}
	if m, _, _, err := parseManifest(bytes.Clone(tx.Bucket(bucketFS).Get(fs[:]))); err == nil && m.FS == fs {
		d.newest = m.Newest
		for _, e := range m.Epochs {
			d.live[e.Number] = true
		}
	}
	c := tx.Bucket(bucketUnits).Cursor()
	for place, b := c.Seek(fs[:]); bytes.HasPrefix(place, fs[:]); place, b = c.Next() {
		var rec unitRecord
		if decode(b, &rec) == nil && rec.State == stateDestroyed { // damaged ones are what is restored
			d.units = append(d.units, rec.ID)
		}
	}
	return nil
}

// without returns s without the epochs that were destroyed.
func (r *Keyring) without(ctx context.Context, s *keyset, gone *destroyed) (*keyset, error) {
	m := s.manifest.clone()
	m.Epochs = slices.DeleteFunc(m.Epochs, func(e epoch) bool { return e.Number <= gone.newest && !gone.live[e.Number] })
	if len(m.Epochs) == len(s.manifest.Epochs) {
		return s, nil
	}
	if m.find(m.Newest) < 0 {
		return nil, fmt.Errorf("%w: all that it could seal with was destroyed since: it is older than the rotation to an epoch that is here", efs.ErrRefused)
	}
	next, err := r.keysetOf(m, nil, s)
	if err != nil {
		return nil, err
	}
	return next, next.sign(ctx, s)
}

// recordsOf returns the records of a backup that belong to s.
func recordsOf(tx *bolt.Tx, s *keyset, gone *destroyed) (records []stored, err error) {
	fs := s.manifest.FS
	for _, l := range s.all() {
		records = append(records, storedAt(tx, bucketKeys, keyPlace(fs, l.record().ID))...)
	}
	err = eachUnit(tx, fs, func(rec *unitRecord) error {
		if rec.State == stateDestroyed || s.manifest.find(rec.Epoch) >= 0 {
			records = append(records, storedAt(tx, bucketUnits, keyPlace(fs, rec.ID))...)
		}
		return nil
	})
	return append(records, storedAt(tx, bucketAnchors, fs[:])...), err
}

// replaceRecords puts the records of a backup in place of what is here, but
// for tombstones and for the anchor, which are newer here.
func replaceRecords(tx *bolt.Tx, s *keyset, records []stored, gone *destroyed) error {
	fs := s.manifest.FS
	newer := storedAt(tx, bucketAnchors, fs[:])
	for _, id := range gone.units {
		newer = append(newer, storedAt(tx, bucketUnits, keyPlace(fs, id))...)
	}
	if err := dropAll(tx, fs); err != nil {
		return err
	}
	for _, rec := range append(records, newer...) {
		if err := rec.put(tx); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketFS).Put(fs[:], s.stored())
}

// mergeCopies registers the copies that the backup knows of.
func mergeCopies(tx *bolt.Tx, old *store, now time.Time) error {
	return old.view(func(from *bolt.Tx) error {
		return eachCopy(from, func(c copyRecord) error {
			if c.Expires <= now.UnixMicro() {
				return nil
			}
			return putCopy(tx, c, now)
		})
	})
}
