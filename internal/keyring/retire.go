package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	bolt "go.etcd.io/bbolt"
)

const retireBatch = 512 // unit keys wrapped anew in one transaction

// Retire ends the use of an epoch for what is new: it seals no content and no
// unit key any more, and the unit keys under it are wrapped anew under the
// newest epoch. What it sealed still opens. To be called again if it was cut
// off. efs.ErrNotFound, efs.ErrRefused for the newest epoch (rotate first).
func (k *Keys) Retire(ctx context.Context, epoch int) error {
	err := k.retire(ctx, epoch)
	for more := true; err == nil && more; {
		if err = ctx.Err(); err == nil {
			more, err = k.rewrapSome(ctx, epoch)
		}
	}
	if err != nil {
		return fmt.Errorf("retiring epoch %d of file system %s: %w", epoch, k.Name(), err)
	}
	return nil
}

// retire marks the epoch.
func (k *Keys) retire(ctx context.Context, epoch int) error {
	k.change.Lock()
	defer k.change.Unlock()
	s := k.set()
	i := s.manifest.find(epoch)
	switch {
	case i < 0:
		return fmt.Errorf("%w: there is no such epoch", efs.ErrNotFound)
	case epoch == s.manifest.Newest:
		return fmt.Errorf("%w: it is the newest; `efsctl rotate %s` makes another first", efs.ErrRefused, k.Name())
	case s.manifest.Epochs[i].State == stateRetired:
		return nil
	}
	m := s.manifest.clone()
	m.Epochs[i].State = stateRetired
	return k.commit(ctx, s, m, nil, nil)
}

// rewrapSome wraps some of the unit keys under an epoch anew, and reports
// whether there may be more.
func (k *Keys) rewrapSome(ctx context.Context, epoch int) (more bool, err error) {
	k.change.Lock()
	defer k.change.Unlock()
	s := k.set()
	var done []efs.ID
	err = k.ring.store.update(func(tx *bolt.Tx) error {
		some, err := unitsUnder(tx, k.fs, epoch, retireBatch)
		if err != nil {
			return err
		}
		for _, rec := range some {
			if err := k.rewrapUnit(ctx, tx, rec, s, s); err != nil {
				return err
			}
			done = append(done, rec.ID)
		}
		return nil
	})
	if err == nil && len(done) > 0 {
		k.units.forget(done)
	}
	return len(done) == retireBatch, err
}

// unitsUnder returns up to limit live units whose key is wrapped by an epoch.
func unitsUnder(tx *bolt.Tx, fs efs.ID, epoch, limit int) (some []*unitRecord, err error) {
	err = eachUnit(tx, fs, func(rec *unitRecord) error {
		if rec.State == stateLive && rec.Epoch == epoch {
			some = append(some, rec)
		}
		if len(some) == limit {
			return errNothing
		}
		return nil
	})
	if errors.Is(err, errNothing) {
		err = nil
	}
	return some, err
}

// rewrapUnits wraps all unit keys anew under the newest epoch of next.
func (k *Keys) rewrapUnits(ctx context.Context, tx *bolt.Tx, s, next *keyset) error {
	var all []*unitRecord
	if err := eachUnit(tx, k.fs, func(rec *unitRecord) error {
		if rec.State == stateLive {
			all = append(all, rec)
		}
		return nil
	}); err != nil {
		return err
	}
	if len(all) > 0 { // the wraps of before must not linger
		if err := tx.Bucket(bucketMeta).Put(metaScrub, []byte{1}); err != nil {
			return err
		}
	}
	for _, rec := range all {
		if err := k.rewrapUnit(ctx, tx, rec, s, next); err != nil {
			return err
		}
	}
	return nil
}

// rewrapUnit seals shares of a unit's key, which opens with keys of s, under
// the newest epoch of next.
func (k *Keys) rewrapUnit(ctx context.Context, tx *bolt.Tx, rec *unitRecord, s, next *keyset) error {
	key, err := rec.open(ctx, s.keysOf(rec.Epoch))
	if err != nil {
		return err
	}
	defer secret.Wipe(key)
	if err := rec.seal(ctx, key, next.newest()); err != nil {
		return err
	}
	rec.Format = recordFormat
	return rec.put(tx)
}

// DestroyEpoch destroys the keys of a retired epoch: what they sealed opens
// never again. On return that is durable and keys.db keeps no byte of them.
// The caller has sealed anew everything that is to stay, and exports again.
// One that was destroyed already is no error. efs.ErrNotFound; efs.ErrRefused
// if the epoch is not retired or still wraps unit keys.
func (k *Keys) DestroyEpoch(ctx context.Context, epoch int) error {
	k.change.Lock()
	defer k.change.Unlock()
	if err := k.destroyEpoch(ctx, epoch); err != nil {
		return fmt.Errorf("destroying the keys of epoch %d of file system %s: %w", epoch, k.Name(), err)
	}
	return nil
}

func (k *Keys) destroyEpoch(ctx context.Context, epoch int) error {
	s := k.set()
	i := s.manifest.find(epoch)
	switch {
	case i < 0 && (epoch < 1 || epoch > s.manifest.Newest):
		return fmt.Errorf("%w: there is no such epoch", efs.ErrNotFound)
	case i < 0: // destroyed; perhaps not yet off the disk
		return k.ring.store.finishScrub()
	case s.manifest.Epochs[i].State != stateRetired:
		return fmt.Errorf("%w: it is not retired: retire it first", efs.ErrRefused)
	}
	m := s.manifest.clone()
	m.Epochs = slices.Delete(m.Epochs, i, i+1)
	return k.commit(ctx, s, m, nil, func(tx *bolt.Tx, _ *keyset) error {
		some, err := unitsUnder(tx, k.fs, epoch, 1)
		if err == nil && len(some) > 0 {
			err = fmt.Errorf("%w: it wraps the keys of units: retire it again", efs.ErrRefused)
		}
		return err
	})
}
