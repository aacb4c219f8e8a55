package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/secret"
	bolt "go.etcd.io/bbolt"
)

const (
	anchorLabel  = "efs keyring anchor\x00"
	anchorFormat = 1
)

// anchorRecord is a head as it is sealed.
type anchorRecord struct {
	Format   int      `cbor:"1,keyasint"`
	FS       efs.ID   `cbor:"2,keyasint"`
	Revision uint64   `cbor:"3,keyasint"`
	Seq      uint64   `cbor:"4,keyasint"`
	Link     [32]byte `cbor:"5,keyasint"`
	Time     int64    `cbor:"6,keyasint"` // Unix time, microseconds
}

// Anchor returns the newest head that was anchored for fs; false if none was.
// efs.ErrDamaged if what lies there was not sealed for fs.
func (r *Keyring) Anchor(fs efs.ID) (efs.Head, bool, error) {
	key, err := r.anchorKey(context.Background(), fs)
	if err != nil {
		return efs.Head{}, false, fmt.Errorf("reading the anchor: %w", err)
	}
	defer key.Destroy()
	var sealed []byte
	err = r.store.view(func(tx *bolt.Tx) error {
		sealed = bytes.Clone(tx.Bucket(bucketAnchors).Get(fs[:]))
		return nil
	})
	if err != nil || sealed == nil {
		return efs.Head{}, false, err
	}
	h, err := openAnchor(key, fs, sealed)
	return h, err == nil, err
}

// SetAnchor keeps head as the newest known one, durably. A head older than
// the anchor changes nothing and is no error; one that contradicts it is
// efs.ErrRolledBack.
func (r *Keyring) SetAnchor(ctx context.Context, head efs.Head) error {
	return r.setAnchor(ctx, head, false)
}

// ResetAnchor sets the anchor to head, older or not: for an operator who
// accepts that an older index was put back.
func (r *Keyring) ResetAnchor(ctx context.Context, head efs.Head) error {
	return r.setAnchor(ctx, head, true)
}

func (r *Keyring) setAnchor(ctx context.Context, head efs.Head, force bool) error {
	key, err := r.anchorKey(ctx, head.FS)
	if err != nil {
		return fmt.Errorf("anchoring the index: %w", err)
	}
	defer key.Destroy()
	sealed, err := sealAnchor(key, head)
	if err != nil {
		return fmt.Errorf("anchoring the index: %w", err)
	}
	err = r.store.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketAnchors)
		if force {
			if err := b.Delete(accessPlace(head.FS)); err != nil {
				return err
			}
		}
		if old := b.Get(head.FS[:]); old != nil && !force {
			have, err := openAnchor(key, head.FS, old)
			if err != nil {
				return err
			}
			if err := follows(have, head); err != nil {
				return err
			}
		}
		return b.Put(head.FS[:], sealed)
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("anchoring the index: %w", err)
	}
	return nil
}

// follows is nil if head comes after have, errNothing if it does not but both
// may be of one history, and efs.ErrRolledBack if they are not.
func follows(have, head efs.Head) error {
	older, newer := have, head
	if head.Revision <= have.Revision {
		older, newer = head, have
	}
	fork := older.Seq > newer.Seq ||
		older.Seq == newer.Seq && older.Link != newer.Link ||
		older.Revision == newer.Revision && older.Seq != newer.Seq
	switch {
	case fork:
		return fmt.Errorf("%w: the index at revision %d contradicts its anchor at revision %d",
			efs.ErrRolledBack, head.Revision, have.Revision)
	case head.Revision <= have.Revision:
		return errNothing
	}
	return nil
}

// anchorKey is the key that seals the anchor of fs, for one use.
func (r *Keyring) anchorKey(ctx context.Context, fs efs.ID) (*secret.Key, error) {
	k, err := r.Keys(ctx, fs)
	if err != nil {
		return nil, err
	}
	b, err := k.root(ctx, purposeAnchor)
	if err != nil {
		return nil, err
	}
	return secret.NewKey(b)
}

func anchorInfo(fs efs.ID) []byte { return append([]byte(anchorLabel), fs[:]...) }

func sealAnchor(key *secret.Key, h efs.Head) ([]byte, error) {
	b, err := detcbor.Marshal(anchorRecord{anchorFormat, h.FS, h.Revision, h.Seq, h.Link, h.Time})
	if err != nil {
		return nil, err
	}
	return key.Seal(b, anchorInfo(h.FS))
}

func openAnchor(key *secret.Key, fs efs.ID, sealed []byte) (efs.Head, error) {
	b, err := key.Open(sealed, anchorInfo(fs))
	if err != nil {
		return efs.Head{}, fmt.Errorf("%w: the anchor of file system %s was changed: "+
			"put back the keys.db that belongs to this root, or accept a rollback", efs.ErrDamaged, fs)
	}
	var a anchorRecord
	if err := decode(b, &a); err != nil {
		return efs.Head{}, err
	}
	return efs.Head{FS: a.FS, Revision: a.Revision, Seq: a.Seq, Link: a.Link, Time: a.Time}, nil
}
