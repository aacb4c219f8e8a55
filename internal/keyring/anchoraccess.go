package keyring

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	bolt "go.etcd.io/bbolt"
)

const accessLabel = "efs keyring anchor of access\x00"

// accessPlace is where the revision of the last change of who may is kept:
// beside the anchor, as earlier versions of this package pass it by there.
func accessPlace(fs efs.ID) []byte { return append(fs[:], "access"...) }

// AnchorAccess notes, durably, that users, rights or the policy of fs were
// changed in the given revision of its index, so that an index made anew from
// before that does not let in whom the change shut out. An older revision than
// the known one changes nothing.
func (r *Keyring) AnchorAccess(ctx context.Context, fs efs.ID, revision uint64) error {
	key, err := r.anchorKey(ctx, fs)
	if err != nil {
		return fmt.Errorf("anchoring a change of who may: %w", err)
	}
	defer key.Destroy()
	sealed, err := key.Seal(binary.BigEndian.AppendUint64(nil, revision), accessInfo(fs))
	if err != nil {
		return fmt.Errorf("anchoring a change of who may: %w", err)
	}
	err = r.store.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketAnchors)
		if old := b.Get(accessPlace(fs)); old != nil {
			if have, err := openAccess(key, fs, old); err != nil {
				return err
			} else if have >= revision {
				return errNothing
			}
		}
		return b.Put(accessPlace(fs), sealed)
	})
	if err != nil && !errors.Is(err, errNothing) {
		return fmt.Errorf("anchoring a change of who may: %w", err)
	}
	return nil
}

// AccessAnchor returns the newest revision that AnchorAccess was given since
// the anchor was reset; 0 if there was none. efs.ErrDamaged if what lies there was not sealed for fs.
func (r *Keyring) AccessAnchor(ctx context.Context, fs efs.ID) (uint64, error) {
	key, err := r.anchorKey(ctx, fs)
	if err != nil {
		return 0, fmt.Errorf("reading the anchor: %w", err)
	}
	defer key.Destroy()
	var sealed []byte
	err = r.store.view(func(tx *bolt.Tx) error {
		sealed = bytes.Clone(tx.Bucket(bucketAnchors).Get(accessPlace(fs)))
		return nil
	})
	if err != nil || sealed == nil {
		return 0, err
	}
	return openAccess(key, fs, sealed)
}

func accessInfo(fs efs.ID) []byte { return append([]byte(accessLabel), fs[:]...) }

func openAccess(key *secret.Key, fs efs.ID, sealed []byte) (uint64, error) {
	b, err := key.Open(sealed, accessInfo(fs))
	if err != nil || len(b) != 8 {
		return 0, fmt.Errorf("%w: the anchor of file system %s was changed: "+
			"put back the keys.db that belongs to this root, or accept a rollback", efs.ErrDamaged, fs)
	}
	return binary.BigEndian.Uint64(b), nil
}
