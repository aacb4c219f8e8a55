package keyring

import (
	"context"
	"crypto/subtle"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/secret"
	bolt "go.etcd.io/bbolt"
)

const (
	kindUnit kind = "unit" // the key of an erasure unit

	wrapLabel string = "efs keyring wrap\x00"
)

// unitRecord is the key of an erasure unit: shares whose sum modulo 2 is the
// unit's secret, each sealed under the epoch key of its stage. Of a destroyed
// one only the times are left.
type unitRecord struct {
	Format    int      `cbor:"1,keyasint"`
	ID        efs.ID   `cbor:"2,keyasint"`
	FS        efs.ID   `cbor:"3,keyasint"`
	State     state    `cbor:"4,keyasint"`
	Created   int64    `cbor:"5,keyasint"`           // Unix time, microseconds
	Destroyed int64    `cbor:"6,keyasint,omitempty"` // Unix time, microseconds
	Epoch     int      `cbor:"7,keyasint,omitempty"` // whose keys seal the shares
	Shares    [][]byte `cbor:"8,keyasint,omitempty"` // by stage
}

// seal splits key and seals a share for each stage of an epoch.
func (r *unitRecord) seal(ctx context.Context, key []byte, n *sealKeys) error {
	shares := splitKey(key, len(n.keys))
	defer secret.WipeAll(shares)
	r.Epoch, r.Shares = n.epoch, nil
	for i, l := range n.keys {
		info, err := r.info(i)
		if err != nil {
			return err
		}
		err = l.with(ctx, func(k *secret.Key) error {
			sealed, err := k.Seal(shares[i], info)
			r.Shares = append(r.Shares, sealed)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// open returns the unit's secret; the caller wipes it. keys are those of the
// record's epoch.
func (r *unitRecord) open(ctx context.Context, keys []*liveKey) ([]byte, error) {
	if r.State == stateDestroyed {
		return nil, fmt.Errorf("%w: the key of unit %s was destroyed", efs.ErrForgotten, r.ID)
	}
	if len(keys) == 0 || len(keys) != len(r.Shares) {
		return nil, r.damaged()
	}
	out := make([]byte, secret.Size)
	for i, l := range keys {
		info, err := r.info(i)
		if err != nil {
			return nil, err
		}
		err = l.with(ctx, func(k *secret.Key) error {
			share, err := k.Open(r.Shares[i], info)
			if err != nil || len(share) != len(out) {
				return r.damaged()
			}
			subtle.XORBytes(out, out, share)
			secret.Wipe(share)
			return nil
		})
		if err != nil {
			secret.Wipe(out)
			return nil, err
		}
	}
	return out, nil
}

func (r *unitRecord) damaged() error {
	return fmt.Errorf("%w: the key of unit %s does not open: put back the keys.db that belongs to this root", efs.ErrDamaged, r.ID)
}

// info is what the sealed share of a stage is bound to.
func (r *unitRecord) info(stage int) ([]byte, error) {
	b, err := detcbor.Marshal(efs.Binding{Purpose: string(kindUnit), FS: r.FS, Stage: stage, Epoch: r.Epoch, Key: r.ID})
	return append([]byte(wrapLabel), b...), err
}

func (r *unitRecord) put(tx *bolt.Tx) error {
	b, err := detcbor.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketUnits).Put(keyPlace(r.FS, r.ID), b)
}
