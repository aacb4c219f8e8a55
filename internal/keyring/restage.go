package keyring

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	bolt "go.etcd.io/bbolt"
)

// Restage begins a new epoch under other master keys or another number of
// stages. Root key and unit keys are split anew, so that the KMSs of all the
// new stages are needed for names, entries and units too; one transaction.
// Contents of older epochs stay as they are. What the old stages alone could
// open, they still can with an older copy of the key store. Durable on return;
// efs.ErrBadInput, what the KMSs answer.
func (k *Keys) Restage(ctx context.Context, stages []efs.StagePolicy) (epoch int, err error) {
	k.change.Lock()
	defer k.change.Unlock()
	m, err := k.restage(ctx, stages)
	if err != nil {
		return 0, fmt.Errorf("putting the keys of file system %s under other stages: %w", k.Name(), err)
	}
	return m.Newest, nil
}

func (k *Keys) restage(ctx context.Context, stages []efs.StagePolicy) (*manifest, error) {
	if len(stages) < 1 || len(stages) > maxStages {
		return nil, fmt.Errorf("%w: a file system has 1 to %d stages", efs.ErrBadInput, maxStages)
	}
	s := k.set()
	m := s.manifest.clone()
	records := map[efs.ID]keyRecord{}
	if err := k.addEpoch(ctx, m, stages, records); err != nil {
		return nil, err
	}
	if err := k.resplitRoot(ctx, s, m, stages, records); err != nil {
		return nil, err
	}
	return m, k.commit(ctx, s, m, records, func(tx *bolt.Tx, next *keyset) error {
		return k.rewrapUnits(ctx, tx, s, next)
	})
}

// resplitRoot makes shares of the root key for all stages.
func (k *Keys) resplitRoot(ctx context.Context, s *keyset, m *manifest, stages []efs.StagePolicy, records map[efs.ID]keyRecord) error {
	prk, err := s.rootKey(ctx)
	if err != nil {
		return err
	}
	defer secret.Wipe(prk)
	shares := splitKey(prk, len(stages))
	defer secret.WipeAll(shares)
	m.Roots, m.Split = nil, splitXOR
	for i, stage := range stages {
		rec, err := k.ring.wrapNew(ctx, m.FS, kindRoot, i, 0, stage, shares[i])
		if err != nil {
			return err
		}
		records[rec.ID] = rec
		m.Roots = append(m.Roots, rec.ID)
	}
	return nil
}

// splitKey returns n shares whose sum modulo 2 is key, and of which any n-1
// are random bytes that tell nothing of it. The caller wipes them.
func splitKey(key []byte, n int) [][]byte {
	shares := make([][]byte, n)
	shares[0] = append(make([]byte, 0, len(key)), key...)
	for i := 1; i < n; i++ {
		shares[i] = make([]byte, len(key))
		_, _ = rand.Read(shares[i])
		subtle.XORBytes(shares[0], shares[0], shares[i])
	}
	return shares
}
