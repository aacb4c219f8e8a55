package keyring

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/efs-project/efs"
	bolt "go.etcd.io/bbolt"
)

// MasterKey names a master key of a KMS.
type MasterKey struct {
	Provider string `json:"provider"`
	KeyID    string `json:"kms_key_id"`
}

// EpochInfo describes an epoch, without material.
type EpochInfo struct {
	Number  int         `json:"number"`
	Created time.Time   `json:"created"`
	State   string      `json:"state"` // "live" or "retired"
	Newest  bool        `json:"newest"`
	Stages  []MasterKey `json:"stages"` // what wraps its keys
}

// Epochs describes the epochs whose keys exist, oldest first.
func (k *Keys) Epochs() []EpochInfo {
	s := k.set()
	var all []EpochInfo
	for _, e := range s.manifest.Epochs {
		info := EpochInfo{Number: e.Number, State: string(e.State), Newest: e.Number == s.manifest.Newest}
		for _, l := range s.keysOf(e.Number) {
			rec := l.record()
			info.Created = time.UnixMicro(rec.Created).UTC()
			info.Stages = append(info.Stages, MasterKey{rec.Provider, rec.Master})
		}
		all = append(all, info)
	}
	return all
}

// Rotate begins a new epoch under the same master keys: what is written from
// now on is sealed with it. Older epochs stay live. Durable on return; what
// the KMS answers.
func (k *Keys) Rotate(ctx context.Context) (epoch int, err error) {
	k.change.Lock()
	defer k.change.Unlock()
	s := k.set()
	m := s.manifest.clone()
	records := map[efs.ID]keyRecord{}
	if err = k.addEpoch(ctx, m, s.newest().stages(), records); err == nil {
		err = k.commit(ctx, s, m, records, nil)
	}
	if err != nil {
		return 0, fmt.Errorf("rotating the keys of file system %s: %w", k.Name(), err)
	}
	return m.Newest, nil
}

// stages are the sources of an epoch's keys.
func (n *sealKeys) stages() []efs.StagePolicy {
	var stages []efs.StagePolicy
	for _, l := range n.keys {
		rec := l.record()
		stages = append(stages, efs.StagePolicy{Provider: rec.Provider, KeyID: rec.Master})
	}
	return stages
}

// addEpoch adds a newest epoch to m and its keys to records.
func (k *Keys) addEpoch(ctx context.Context, m *manifest, stages []efs.StagePolicy, records map[efs.ID]keyRecord) error {
	m.Newest++
	e := epoch{Number: m.Newest, State: stateLive}
	for i, stage := range stages {
		rec, err := k.ring.newKey(ctx, m, kindEpoch, i, e.Number, stage)
		if err != nil {
			return err
		}
		records[rec.ID] = rec
		e.Keys = append(e.Keys, rec.ID)
	}
	m.Epochs = append(m.Epochs, e)
	return nil
}

// commit stores m and records in place of what s says, with whatever also
// does, in one transaction; then the keys that m no longer names are gone from
// the file too, and everybody uses the new keyset. Called with change held.
func (k *Keys) commit(ctx context.Context, s *keyset, m *manifest, records map[efs.ID]keyRecord, also func(*bolt.Tx, *keyset) error) error {
	next, err := k.ring.keysetOf(m, records, s)
	if err != nil {
		return err
	}
	if err := next.sign(ctx, s); err != nil {
		return err
	}
	if err := next.verify(ctx); err != nil {
		return err
	}
	recovery, err := k.planRecovery(ctx, next)
	if err == nil {
		err = recovery.sealMissing(ctx, next)
	}
	if err != nil {
		return err
	}
	doomed := s.without(next)
	err = k.ring.store.update(func(tx *bolt.Tx) error {
		if !bytes.Equal(tx.Bucket(bucketFS).Get(k.fs[:]), s.stored()) {
			return fmt.Errorf("%w: the keys of file system %s", efs.ErrConflict, s.manifest.Name)
		}
		if also != nil {
			if err := also(tx, next); err != nil {
				return err
			}
		}
		if err := recovery.store(tx, k.fs); err != nil {
			return err
		}
		for _, l := range doomed {
			id := l.record().ID
			if err := tx.Bucket(bucketKeys).Delete(keyPlace(k.fs, id)); err != nil {
				return err
			}
			if err := tx.Bucket(bucketMeta).Put(metaScrub, []byte{1}); err != nil {
				return err
			}
		}
		return putKeyset(tx, next, records)
	})
	if err != nil {
		return err
	}
	k.now.Store(next)
	k.units.clear()
	for _, l := range doomed {
		l.destroy(fmt.Errorf("%w: %s was replaced or destroyed", efs.ErrForgotten, l.record()))
	}
	k.changed()
	if len(doomed) == 0 && len(recovery.doomed) == 0 && also == nil {
		return nil // nothing was destroyed
	}
	return k.ring.store.finishScrub()
}

// without returns the keys of s that next does not have.
func (s *keyset) without(next *keyset) []*liveKey {
	kept := map[*liveKey]bool{}
	for _, l := range next.all() {
		kept[l] = true
	}
	var gone []*liveKey
	for _, l := range s.all() {
		if !kept[l] {
			gone = append(gone, l)
		}
	}
	return gone
}
