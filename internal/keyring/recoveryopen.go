package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/seal"
	bolt "go.etcd.io/bbolt"
)

// openItem opens the keys of an item with the private half of the recipient;
// the caller wipes them. efs.ErrWrongKey, efs.ErrDamaged.
func openItem(fs efs.ID, sealed []byte, id seal.Identity) (in recoveryKeys, err error) {
	plain, _, err := seal.OpenBytes(nil, sealed, &seal.Open{
		Any: true, Identities: []seal.Identity{id}, Size: int64(len(sealed)), PlainSize: -1,
	})
	defer secret.Wipe(plain)
	switch {
	case errors.Is(err, seal.ErrNoKey):
		return in, fmt.Errorf("%w: the keys were sealed to another recovery recipient", efs.ErrWrongKey)
	case err != nil:
		return in, fmt.Errorf("%w: keys sealed to the recovery recipient: %w", efs.ErrDamaged, err)
	}
	if err := detcbor.UnmarshalKnown(plain, &in); err != nil || in.Format < 1 || in.FS != fs || len(in.IDs) != len(in.Keys) {
		in.wipe()
		return in, fmt.Errorf("%w: keys sealed to the recovery recipient are unreadable, or of another file system", efs.ErrDamaged)
	}
	if in.Format > recoveryFormat {
		in.wipe()
		return in, fmt.Errorf("keys sealed to the recovery recipient have format %d, this program knows %d: they were written by a newer EFS, use that one", in.Format, recoveryFormat)
	}
	return in, nil
}

// recoverStored is recoverKeys with the items of the store.
func (r *Keyring) recoverStored(fs efs.ID) error {
	stored, err := r.recoveryItems(fs)
	if err != nil {
		return err
	}
	return r.recoverKeys(fs, stored)
}

// recoverKeys opens the items of a file system with Options.Recovery. A public
// key proves nothing of who sealed to it: that the items belong together is
// proven by their tags, under a key of the root secrets. So whoever wrote the
// volume can put another file system in place of this one, and not one key.
func (r *Keyring) recoverKeys(fs efs.ID, stored []storedItem) error {
	if r.recovery == nil {
		return nil
	}
	if len(stored) == 0 {
		return fmt.Errorf("%w: its keys are not sealed to any recovery recipient", efs.ErrNotFound)
	}
	root := slices.IndexFunc(stored, func(b storedItem) bool { return bytes.Equal(b.place, recoveryPlace(fs, 0)) })
	if root < 0 {
		return fmt.Errorf("%w: the root secrets that were sealed to the recovery recipient are missing", efs.ErrDamaged)
	}
	key, err := r.recoverRoot(fs, stored[root])
	if err != nil {
		return err
	}
	defer secret.Wipe(key)
	for _, b := range stored {
		item, ok := b.open(key)
		if !ok || item.FS != fs {
			r.log.Warn("keys that were sealed to the recovery recipient were altered", "fs", fs)
			continue
		}
		if err := r.takeItem(fs, item.Sealed); err != nil {
			r.log.Warn("keys that were sealed to the recovery recipient do not open", "fs", fs, "epoch", item.Epoch, "err", err)
		}
	}
	return nil
}

// recoverRoot returns the key of the items' tags, from the root secrets.
func (r *Keyring) recoverRoot(fs efs.ID, b storedItem) ([]byte, error) {
	var item recoveryItem
	n := len(b.value) - tagSize
	if n < 0 || decode(b.value[:n], &item) != nil {
		return nil, fmt.Errorf("%w: keys sealed to the recovery recipient are unreadable", efs.ErrDamaged)
	}
	in, err := openItem(fs, item.Sealed, r.recovery)
	if err != nil {
		return nil, err
	}
	defer in.wipe()
	secrets := slices.Concat(in.Keys...)
	defer secret.Wipe(secrets)
	prk := joinRoot(fs, in.Split, secrets)
	defer secret.Wipe(prk)
	return rootPurpose(prk, purposeRecovery), nil
}

// takeItem keeps the keys of an item.
func (r *Keyring) takeItem(fs efs.ID, sealed []byte) error {
	in, err := openItem(fs, sealed, r.recovery)
	if err != nil {
		return err
	}
	defer in.wipe()
	for i, id := range in.IDs {
		key, err := secret.NewKey(bytes.Clone(in.Keys[i]))
		if err != nil {
			return err
		}
		if old, ok := r.recovered.Swap(id, key); ok {
			old.(*secret.Key).Destroy()
		}
	}
	return nil
}

// recoveredKey returns a key that was sealed to the recovery recipient; the
// caller wipes it. false: there is none such.
func (r *Keyring) recoveredKey(id efs.ID) (b []byte, ok bool) {
	key, ok := r.recovered.Load(id)
	if !ok {
		return nil, false
	}
	err := key.(*secret.Key).With(func(k []byte) { b = append(make([]byte, 0, len(k)), k...) })
	return b, err == nil
}

// copyItems puts those of items that next needs back; for mending.
func copyItems(tx *bolt.Tx, next *keyset, items []storedItem) error {
	slots := next.recoverySlots()
	if len(slots) == 0 {
		return nil
	}
	b, err := tx.CreateBucketIfNotExists(bucketRecovery)
	if err != nil {
		return err
	}
	errs := []error{useFormat(tx, recoveryStoreFormat)}
	for _, item := range items {
		errs = append(errs, b.Put(item.place, item.value))
	}
	return errors.Join(errs...)
}
