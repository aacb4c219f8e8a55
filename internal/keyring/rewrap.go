package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/secret"
	bolt "go.etcd.io/bbolt"
)

// metaRewrap ‖ provider ‖ 0x00 ‖ master key id → id of the job, in meta, while
// a rewrapping is not finished.
const metaRewrap = "rewrap "

func rewrapPlace(provider, keyID string) []byte {
	return []byte(metaRewrap + provider + "\x00" + keyID)
}

// under returns the records whose wrap is of a master key, by file system.
func (r *Keyring) under(provider, keyID string) (all []keyRecord, err error) {
	err = r.store.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketKeys).ForEach(func(_, b []byte) error {
			var rec keyRecord
			if err := decode(b, &rec); err != nil {
				return err
			}
			if rec.Provider == provider && rec.Master == keyID {
				all = append(all, rec)
			}
			return nil
		})
	})
	return all, err
}

// Rewrap wraps every key under a master key anew, with its newest version. No
// content and no index is touched; readers and writers go on. When it ends,
// keys.db keeps no byte of the wraps of before. It returns how many keys it
// wrapped; progress (may be nil) is told after each. If it is cut off,
// ResumeRewraps goes on. What the KMS answers.
func (r *Keyring) Rewrap(ctx context.Context, provider, keyID string, progress func(done, total int64)) (n int, err error) {
	job := efs.NewID()
	if _, err = r.provider(provider); err == nil {
		err = r.store.update(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketMeta).Put(rewrapPlace(provider, keyID), job[:])
		})
	}
	if err == nil {
		n, err = r.rewrap(ctx, provider, keyID, job, progress)
	}
	if err != nil {
		return n, fmt.Errorf("wrapping the keys under %s of KMS %s anew: %w", keyID, provider, err)
	}
	return n, nil
}

// PendingRewraps returns the master keys whose rewrapping was cut off.
func (r *Keyring) PendingRewraps() (all []MasterKey, err error) {
	err = r.eachRewrap(func(m MasterKey, _ efs.ID) { all = append(all, m) })
	return all, err
}

func (r *Keyring) eachRewrap(f func(MasterKey, efs.ID)) error {
	return r.store.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketMeta).Cursor()
		prefix := []byte(metaRewrap)
		for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
			provider, keyID, _ := strings.Cut(string(k[len(prefix):]), "\x00")
			if len(v) != len(efs.ID{}) {
				return fmt.Errorf("%w: unreadable record", efs.ErrDamaged)
			}
			f(MasterKey{provider, keyID}, efs.ID(v))
		}
		return nil
	})
}

// ResumeRewraps goes on with what was cut off, at start. It tries all and
// returns the errors of those that it could not finish.
func (r *Keyring) ResumeRewraps(ctx context.Context) error {
	jobs := map[MasterKey]efs.ID{}
	errs := []error{r.eachRewrap(func(m MasterKey, id efs.ID) { jobs[m] = id })}
	for m, job := range jobs {
		if _, err := r.rewrap(ctx, m.Provider, m.KeyID, job, nil); err != nil {
			errs = append(errs, fmt.Errorf("wrapping the keys under %s of KMS %s anew: %w", m.KeyID, m.Provider, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Keyring) rewrap(ctx context.Context, provider, keyID string, job efs.ID, progress func(done, total int64)) (n int, err error) {
	all, err := r.under(provider, keyID)
	if err != nil {
		return 0, err
	}
	changed, failed := map[efs.ID]*Keys{}, map[efs.ID]error{}
	defer func() {
		for _, k := range changed {
			k.changed()
		}
	}()
	for i, rec := range all {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if rec.Job != job {
			k, err := r.Keys(ctx, rec.FS)
			if err != nil {
				failed[rec.FS] = err // as another stage's KMS is away; that keeps no other back
				continue
			}
			if err := k.rewrapKey(ctx, rec.ID, job); err != nil {
				return n, err
			}
			changed[rec.FS] = k
			n++
		}
		if progress != nil {
			progress(int64(i+1), int64(len(all)))
		}
	}
	if len(failed) > 0 {
		return n, errors.Join(slices.Collect(maps.Values(failed))...)
	}
	err = r.store.update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if bytes.Equal(meta.Get(rewrapPlace(provider, keyID)), job[:]) { // no other began meanwhile
			if err := meta.Delete(rewrapPlace(provider, keyID)); err != nil {
				return err
			}
		}
		return meta.Put(metaScrub, []byte{1})
	})
	if err != nil {
		return n, err
	}
	return n, r.store.finishScrub()
}

// rewrapKey wraps one key anew; one that is gone meanwhile is passed over.
func (k *Keys) rewrapKey(ctx context.Context, id, job efs.ID) error {
	k.change.Lock()
	defer k.change.Unlock()
	for _, l := range k.all() {
		if l.ID() != id {
			continue
		}
		rec := *l.record()
		if err := k.ring.rewrapRecord(ctx, &rec, job); err != nil {
			return err
		}
		l.rec.Store(&rec)
	}
	return nil
}

func (r *Keyring) rewrapRecord(ctx context.Context, rec *keyRecord, job efs.ID) error {
	old, err := detcbor.Marshal(rec)
	if err != nil {
		return err
	}
	unwrapping, cancel := context.WithTimeout(ctx, r.life.timeout)
	defer cancel()
	key, err := r.unwrap(unwrapping, rec)
	if err != nil {
		return rec.answer(err)
	}
	defer secret.Wipe(key)
	if err := r.wrap(ctx, rec, key); err != nil {
		return err
	}
	rec.Format, rec.Job = recordFormat, job
	fresh, err := detcbor.Marshal(rec)
	if err != nil {
		return err
	}
	return r.store.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketKeys)
		if !bytes.Equal(b.Get(keyPlace(rec.FS, rec.ID)), old) {
			return fmt.Errorf("%w: the %s", efs.ErrConflict, rec)
		}
		return b.Put(keyPlace(rec.FS, rec.ID), fresh)
	})
}
