package keyring

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/secret"
	bolt "go.etcd.io/bbolt"
)

const maxStages = 8

// Create makes the keys of a new file system: for each stage an epoch key and
// a root secret, wrapped by the stage's KMS. All or nothing, durable on
// return. efs.ErrExists if the id or the name has keys; efs.ErrBadInput;
// what the KMS answers.
func (r *Keyring) Create(ctx context.Context, fs efs.ID, name string, stages []efs.StagePolicy) (*Keys, error) {
	r.loading.Lock()
	defer r.loading.Unlock()
	k, err := r.create(ctx, fs, name, stages)
	if err != nil {
		return nil, fmt.Errorf("making the keys of file system %s: %w", name, err)
	}
	return k, nil
}

func (r *Keyring) create(ctx context.Context, fs efs.ID, name string, stages []efs.StagePolicy) (*Keys, error) {
	if fs.IsZero() || !efs.ValidFSName(name) || len(stages) < 1 || len(stages) > maxStages {
		return nil, fmt.Errorf("%w: a file system has an id, a valid name and 1 to %d stages", efs.ErrBadInput, maxStages)
	}
	if err := r.store.view(func(tx *bolt.Tx) error { return checkFree(tx, fs, name) }); err != nil {
		return nil, err
	}
	m := &manifest{Format: recordFormat, FS: fs, Name: name, Created: r.life.now().UnixMicro(),
		Newest: 1, Epochs: []epoch{{Number: 1, State: stateLive}}, Split: splitXOR}
	records := map[efs.ID]keyRecord{}
	for i, stage := range stages {
		root, err := r.newKey(ctx, m, kindRoot, i, 0, stage)
		if err != nil {
			return nil, err
		}
		key, err := r.newKey(ctx, m, kindEpoch, i, m.Newest, stage)
		if err != nil {
			return nil, err
		}
		records[root.ID], records[key.ID] = root, key
		m.Roots = append(m.Roots, root.ID)
		m.Epochs[0].Keys = append(m.Epochs[0].Keys, key.ID)
	}
	return r.found(ctx, m, records)
}

// newKey makes a random key of a stage and its record.
func (r *Keyring) newKey(ctx context.Context, m *manifest, kd kind, stage, number int, p efs.StagePolicy) (keyRecord, error) {
	key := make([]byte, secret.Size)
	_, _ = rand.Read(key)
	defer secret.Wipe(key)
	return r.wrapNew(ctx, m.FS, kd, stage, number, p, key)
}

// wrapNew makes the record of a key.
func (r *Keyring) wrapNew(ctx context.Context, fs efs.ID, kd kind, stage, number int, p efs.StagePolicy, key []byte) (keyRecord, error) {
	rec := keyRecord{
		Format: recordFormat, ID: efs.NewID(), Kind: kd, State: stateLive, Provider: p.Provider, Master: p.KeyID,
		FS: fs, Purpose: string(kd), Stage: stage, Epoch: number, Created: r.life.now().UnixMicro(),
	}
	return rec, r.wrap(ctx, &rec, key)
}

// wrap has the KMS of a record wrap its key, and makes sure that it unwraps: a
// KMS that only wraps would take contents and never give them back.
func (r *Keyring) wrap(ctx context.Context, rec *keyRecord, key []byte) error {
	kms, err := r.provider(rec.Provider)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*r.life.timeout)
	defer cancel()
	if rec.Wrapped, err = kms.Wrap(ctx, rec.Master, key, rec.binding()); err != nil {
		return rec.answer(err)
	}
	back, err := r.unwrap(ctx, rec)
	defer secret.Wipe(back)
	if err != nil {
		return rec.answer(err)
	}
	if subtle.ConstantTimeCompare(back, key) != 1 {
		return fmt.Errorf("%w: KMS %s does not give back what it wrapped", efs.ErrDamaged, rec.Provider)
	}
	return nil
}

// found stores the records of a new file system and returns its keys.
func (r *Keyring) found(ctx context.Context, m *manifest, records map[efs.ID]keyRecord) (*Keys, error) {
	s, err := r.keysetOf(m, records, nil)
	if err != nil {
		return nil, err
	}
	k := r.newKeys(s)
	if err = s.sign(ctx, s); err == nil {
		err = r.store.update(func(tx *bolt.Tx) error { return putNew(tx, s, records) })
	}
	if err == nil {
		err = r.keep(k)
	}
	if err != nil {
		k.destroy(err)
		return nil, err
	}
	return k, nil
}

func putNew(tx *bolt.Tx, s *keyset, records map[efs.ID]keyRecord) error {
	if err := checkFree(tx, s.manifest.FS, s.manifest.Name); err != nil {
		return err
	}
	return putKeyset(tx, s, records)
}

// putKeyset stores a manifest and the records that are new with it.
func putKeyset(tx *bolt.Tx, s *keyset, records map[efs.ID]keyRecord) error {
	for id, rec := range records {
		b, err := detcbor.Marshal(rec)
		if err != nil {
			return err
		}
		if err := tx.Bucket(bucketKeys).Put(keyPlace(rec.FS, id), b); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketFS).Put(s.manifest.FS[:], s.stored())
}

// checkFree refuses an id or a name that has keys.
func checkFree(tx *bolt.Tx, fs efs.ID, name string) error {
	return tx.Bucket(bucketFS).ForEach(func(id, stored []byte) error {
		m, _, _, err := parseManifest(stored)
		if bytes.Equal(id, fs[:]) || err == nil && m.Name == name {
			return fmt.Errorf("%w: file system %s has keys, which are never overwritten", efs.ErrExists, name)
		}
		return nil
	})
}
