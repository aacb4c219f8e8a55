package keyring

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/lru"
	"github.com/efs-project/efs/internal/secret"
	bolt "go.etcd.io/bbolt"
)

const unitsAtOnce = 4096 // records kept in memory, wrapped

// UnitInfo describes the key of an erasure unit, without material.
type UnitInfo struct {
	ID        efs.ID    `json:"id"`
	Created   time.Time `json:"created"`
	Destroyed time.Time `json:"destroyed,omitzero"`
}

// unitNumber is the beginning of a unit's id, no two of a file system alike.
type unitNumber [7]byte

func numberOf(id efs.ID) unitNumber { return unitNumber(id[:7]) }

// unitCache keeps records as they are stored. A change of stored records is
// followed by forget or clear; who used a record while gen moved looks again.
type unitCache struct {
	gen     atomic.Uint64
	mu      sync.RWMutex // held for reading while a record is looked up, for writing when some are dropped
	records *lru.Cache[unitNumber, *unitRecord]
}

func (c *unitCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = lru.New[unitNumber, *unitRecord](unitsAtOnce)
	c.gen.Add(1)
}

func (c *unitCache) forget(ids []efs.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.records.Drop(numberOf(id))
	}
	c.gen.Add(1)
}

// CreateUnit makes the key of a new erasure unit; durable on return.
func (k *Keys) CreateUnit(ctx context.Context) (efs.ID, error) {
	k.change.RLock()
	defer k.change.RUnlock()
	id, err := k.createUnit(ctx)
	if err != nil {
		return efs.ID{}, fmt.Errorf("making a unit key of file system %s: %w", k.Name(), err)
	}
	return id, nil
}

func (k *Keys) createUnit(ctx context.Context) (efs.ID, error) {
	key := make([]byte, secret.Size)
	_, _ = rand.Read(key)
	defer secret.Wipe(key)
	n := k.set().newest()
	for {
		rec := unitRecord{Format: recordFormat, ID: efs.NewID(), FS: k.fs, State: stateLive, Created: k.ring.life.now().UnixMicro()}
		if err := rec.seal(ctx, key, n); err != nil {
			return efs.ID{}, err
		}
		err := k.ring.store.update(func(tx *bolt.Tx) error {
			if stored, _ := findUnit(tx, k.fs, numberOf(rec.ID)); stored != nil {
				return efs.ErrExists // of 2^52 numbers the same one: draw again
			}
			return rec.put(tx)
		})
		if !errors.Is(err, efs.ErrExists) {
			return rec.ID, err
		}
	}
}

// findUnit returns the record of a unit by its number; nil if there is none.
func findUnit(tx *bolt.Tx, fs efs.ID, n unitNumber) (*unitRecord, error) {
	prefix := append(fs[:], n[:]...)
	place, b := tx.Bucket(bucketUnits).Cursor().Seek(prefix)
	if !bytes.HasPrefix(place, prefix) {
		return nil, nil
	}
	rec := new(unitRecord)
	if err := decode(b, rec); err != nil {
		return nil, err
	}
	if rec.FS != fs || !bytes.Equal(place[len(fs):], rec.ID[:]) {
		return nil, fmt.Errorf("%w: the key of another unit lies in the place of unit %x", efs.ErrDamaged, place[len(fs):])
	}
	return rec, nil
}

// unitRecord returns the record of a unit by its number; nil if there is none.
// It is not to be changed.
func (k *Keys) unitRecord(n unitNumber) (rec *unitRecord, err error) {
	k.units.mu.RLock()
	defer k.units.mu.RUnlock()
	if rec, ok := k.units.records.Get(n); ok {
		return rec, nil
	}
	err = k.ring.store.view(func(tx *bolt.Tx) error {
		rec, err = findUnit(tx, k.fs, n)
		return err
	})
	if err != nil || rec == nil {
		return nil, err
	}
	k.units.records.Put(n, rec)
	return rec, nil
}

// Units describes all units that have or had a key, by id.
func (k *Keys) Units() ([]UnitInfo, error) {
	var all []UnitInfo
	err := k.ring.store.view(func(tx *bolt.Tx) error {
		return eachUnit(tx, k.fs, func(rec *unitRecord) error {
			info := UnitInfo{ID: rec.ID, Created: time.UnixMicro(rec.Created).UTC()}
			if rec.State == stateDestroyed {
				info.Destroyed = time.UnixMicro(rec.Destroyed).UTC()
			}
			all = append(all, info)
			return nil
		})
	})
	return all, err
}

// eachUnit calls f with each unit's record, which f may keep. f does not write.
func eachUnit(tx *bolt.Tx, fs efs.ID, f func(*unitRecord) error) error {
	c := tx.Bucket(bucketUnits).Cursor()
	for place, b := c.Seek(fs[:]); bytes.HasPrefix(place, fs[:]); place, b = c.Next() {
		rec := new(unitRecord)
		if err := decode(b, rec); err != nil {
			return err
		}
		if err := f(rec); err != nil {
			return err
		}
	}
	return nil
}

// AbandonUnit removes the key of a unit that nothing was kept under: none is
// known by its id any more. Its bytes are overwritten with those of the next key that is
// destroyed, or at the next start, so that it costs no more than making it.
// efs.ErrNotFound.
func (k *Keys) AbandonUnit(_ context.Context, id efs.ID) error {
	k.change.RLock()
	defer k.change.RUnlock()
	err := k.ring.store.update(func(tx *bolt.Tx) error {
		rec, err := findUnit(tx, k.fs, numberOf(id))
		if err != nil {
			return err
		}
		if rec == nil || rec.ID != id || rec.State == stateDestroyed {
			return efs.ErrNotFound
		}
		if err := tx.Bucket(bucketUnits).Delete(keyPlace(k.fs, id)); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(metaScrub, []byte{1})
	})
	if err != nil {
		return fmt.Errorf("removing the key of unit %s of file system %s: %w", id, k.Name(), err)
	}
	k.units.forget([]efs.ID{id})
	return nil
}

// DestroyUnits destroys the keys of units: what they sealed opens never again.
// On return that is durable and keys.db keeps no byte of them, but for a
// tombstone with the time. Those that are destroyed already are no error;
// efs.ErrNotFound, and nothing is destroyed, if there never was one of them.
// Copies of the key store are not reached.
func (k *Keys) DestroyUnits(_ context.Context, ids ...efs.ID) error {
	k.change.Lock()
	defer k.change.Unlock()
	err := k.ring.store.update(func(tx *bolt.Tx) error {
		for _, id := range ids {
			rec, err := findUnit(tx, k.fs, numberOf(id))
			if err != nil {
				return err
			}
			if rec == nil || rec.ID != id {
				return fmt.Errorf("%w: unit %s", efs.ErrNotFound, id)
			}
			if rec.State == stateDestroyed {
				continue
			}
			dead := unitRecord{Format: recordFormat, ID: id, FS: k.fs, State: stateDestroyed, Created: rec.Created, Destroyed: k.ring.life.now().UnixMicro()}
			if err := errors.Join(dead.put(tx), tx.Bucket(bucketMeta).Put(metaScrub, []byte{1})); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		k.units.forget(ids)
		err = k.ring.store.finishScrub()
	}
	if err != nil {
		return fmt.Errorf("destroying unit keys of file system %s: %w", k.Name(), err)
	}
	return nil
}
