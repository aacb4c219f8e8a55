package keyring

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/seal"
	bolt "go.etcd.io/bbolt"
)

// A recovery recipient is a public key whose private half lies in a safe. The
// root secrets and the keys of each epoch are sealed to it as well, an item of
// the bucket for the root secrets and for each epoch, so that the file system
// opens when its KMSs are gone. Whose key it is stands in the manifest: else
// who can write the store could have the next keys sealed to a key of their own.

var bucketRecovery = []byte("recovery") // file system ‖ epoch, 4 bytes (0: root secrets) → item ‖ tag; since format 3

const (
	recoveryFormat  = 1
	recoveryType    = "application/vnd.efs.recovery-keys"
	purposeRecovery = "keyring recovery"
)

// recoveryItem is the keys of one epoch, or the root secrets, sealed. It is
// stored with a tag under a key of the file system.
type recoveryItem struct {
	Format    int      `cbor:"1,keyasint"`
	FS        efs.ID   `cbor:"2,keyasint"`
	Epoch     int      `cbor:"3,keyasint,omitempty"` // 0: root secrets
	Recipient [16]byte `cbor:"4,keyasint"`           // id of the public key
	Keys      []efs.ID `cbor:"5,keyasint"`           // by stage
	Sealed    []byte   `cbor:"6,keyasint"`           // a sealed file of recoveryKeys
}

// recoveryKeys is what an item seals.
type recoveryKeys struct {
	Format int      `cbor:"1,keyasint"`
	FS     efs.ID   `cbor:"2,keyasint"`
	Epoch  int      `cbor:"3,keyasint,omitempty"`
	IDs    []efs.ID `cbor:"4,keyasint"`           // by stage
	Keys   [][]byte `cbor:"5,keyasint"`           // by stage
	Split  split    `cbor:"6,keyasint,omitempty"` // of root secrets
	Name   string   `cbor:"7,keyasint,omitempty"` // of the file system
}

func (k *recoveryKeys) wipe() {
	for _, b := range k.Keys {
		secret.Wipe(b)
	}
}

// ParseRecovery reads a recovery recipient, "efs1…". efs.ErrBadInput.
func ParseRecovery(text string) (*seal.PublicKey, error) {
	r, err := seal.ParseRecipient(text)
	if err != nil {
		return nil, fmt.Errorf("%w: recovery recipient: %w", efs.ErrBadInput, err)
	}
	k, ok := r.(*seal.PublicKey)
	if !ok || k.String() != text {
		return nil, fmt.Errorf("%w: a recovery recipient is a public key, efs1…", efs.ErrBadInput)
	}
	return k, nil
}

// Recovery returns the recovery recipient, "" if there is none.
func (k *Keys) Recovery() string { return k.set().manifest.Recovery }

// SetRecovery makes recipient, "efs1…", the one that the root secrets and the
// keys of all epochs are sealed to, those there are and those to come; "": none
// any more, and what was sealed to one goes. Done already is no error, and
// makes good what is missing or was altered. What copies of the store hold
// stays. Durable on return. efs.ErrBadInput, what the KMSs answer.
func (k *Keys) SetRecovery(ctx context.Context, recipient string) error {
	k.change.Lock()
	defer k.change.Unlock()
	if err := k.setRecovery(ctx, recipient); err != nil {
		return fmt.Errorf("sealing the keys of file system %s to a recovery recipient: %w", k.Name(), err)
	}
	return nil
}

func (k *Keys) setRecovery(ctx context.Context, recipient string) error {
	s := k.set()
	if recipient != "" {
		if _, err := ParseRecovery(recipient); err != nil {
			return err
		}
	}
	if s.manifest.Recovery == recipient {
		whole, err := k.recoveryWhole(ctx, s)
		if err != nil || whole {
			return err
		}
	}
	m := s.manifest.clone()
	m.Recovery = recipient
	return k.commit(ctx, s, m, nil, nil)
}

// recoverySlots lists what is to be sealed: the keys of each item, by epoch.
func (s *keyset) recoverySlots() map[int][]*liveKey {
	if s.manifest.Recovery == "" {
		return nil
	}
	slots := map[int][]*liveKey{0: s.roots}
	for _, e := range s.manifest.Epochs {
		slots[e.Number] = s.keysOf(e.Number)
	}
	return slots
}

func idsOf(keys []*liveKey) (ids []efs.ID) {
	for _, l := range keys {
		ids = append(ids, l.ID())
	}
	return ids
}

// recoveryWhole reports whether every item is there, and no other.
func (k *Keys) recoveryWhole(ctx context.Context, s *keyset) (bool, error) {
	w, err := k.planRecovery(ctx, s)
	return err == nil && len(w.missing) == 0 && len(w.doomed) == 0, err
}

// recoveryPlan is what is to be done about the items of a file system.
type recoveryPlan struct {
	missing map[int][]*liveKey
	doomed  [][]byte // places of items that are not to stay
	put     map[int][]byte
}

// planRecovery compares the stored items with what next needs.
func (k *Keys) planRecovery(ctx context.Context, next *keyset) (*recoveryPlan, error) {
	w := &recoveryPlan{missing: next.recoverySlots(), put: map[int][]byte{}}
	stored, err := k.ring.recoveryItems(k.fs)
	if err != nil || len(stored) == 0 && len(w.missing) == 0 {
		return w, err
	}
	key, err := next.root(ctx, purposeRecovery)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(key)
	var recipient [16]byte
	if next.manifest.Recovery != "" {
		pub, err := ParseRecovery(next.manifest.Recovery)
		if err != nil {
			return nil, err
		}
		recipient = pub.ID()
	}
	for _, b := range stored {
		item, ok := b.open(key)
		keys, wanted := w.missing[item.Epoch]
		if ok && wanted && item.Recipient == recipient && slices.Equal(item.Keys, idsOf(keys)) {
			delete(w.missing, item.Epoch)
		} else {
			w.doomed = append(w.doomed, b.place)
		}
	}
	return w, nil
}

// storedItem is an item as it is stored.
type storedItem struct{ place, value []byte }

// open decodes an item, and reports whether it is one that was stored for its
// place.
func (b storedItem) open(key []byte) (item recoveryItem, ok bool) {
	n := len(b.value) - tagSize
	if n < 0 || !hmac.Equal(tag(key, b.value[:n]), b.value[n:]) {
		return item, false
	}
	err := decode(b.value[:n], &item)
	return item, err == nil && bytes.Equal(b.place, recoveryPlace(item.FS, item.Epoch))
}

func recoveryPlace(fs efs.ID, epoch int) []byte {
	return binary.BigEndian.AppendUint32(fs[:], uint32(epoch))
}

// recoveryItems returns the items of a file system, unproven.
func (r *Keyring) recoveryItems(fs efs.ID) (all []storedItem, err error) {
	err = r.store.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketRecovery)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for place, v := c.Seek(fs[:]); bytes.HasPrefix(place, fs[:]); place, v = c.Next() {
			all = append(all, storedItem{bytes.Clone(place), bytes.Clone(v)})
		}
		return nil
	})
	return all, err
}

// sealMissing seals the items that are missing. It asks the KMSs for the keys
// of epochs that are not in use.
func (w *recoveryPlan) sealMissing(ctx context.Context, next *keyset) error {
	if len(w.missing) == 0 {
		return nil
	}
	pub, err := ParseRecovery(next.manifest.Recovery)
	if err != nil {
		return err
	}
	key, err := next.root(ctx, purposeRecovery)
	if err != nil {
		return err
	}
	defer secret.Wipe(key)
	for number, keys := range w.missing {
		item, err := next.sealItem(ctx, pub, number, keys)
		if err != nil {
			return err
		}
		body, err := detcbor.Marshal(item)
		if err != nil {
			return err
		}
		w.put[number] = append(body, tag(key, body)...)
	}
	return nil
}

// sealItem seals the keys of an epoch, or the root secrets.
func (s *keyset) sealItem(ctx context.Context, pub *seal.PublicKey, number int, keys []*liveKey) (recoveryItem, error) {
	item := recoveryItem{Format: recoveryFormat, FS: s.manifest.FS, Epoch: number, Recipient: pub.ID(), Keys: idsOf(keys)}
	in := recoveryKeys{Format: recoveryFormat, FS: item.FS, Epoch: number, IDs: item.Keys, Name: s.manifest.Name}
	if number == 0 {
		in.Split = s.manifest.Split
	}
	defer in.wipe()
	for _, l := range keys {
		err := l.with(ctx, func(k *secret.Key) error {
			return k.With(func(b []byte) { in.Keys = append(in.Keys, append(make([]byte, 0, len(b)), b...)) })
		})
		if err != nil {
			return item, err
		}
	}
	plain, err := detcbor.MarshalSecret(in)
	if err != nil {
		return item, err
	}
	defer secret.Wipe(plain)
	item.Sealed, _, err = seal.SealBytes(nil, plain, &seal.Params{
		FS: item.FS, Content: efs.NewID(), NoDigest: true,
		Stages: []seal.Stage{{Suite: seal.AES256GCM, Recipients: []seal.Recipient{pub}}},
	}, seal.Recovery{Type: recoveryType})
	return item, err
}

// store does what the plan says, in tx.
func (w *recoveryPlan) store(tx *bolt.Tx, fs efs.ID) error {
	if len(w.doomed) == 0 && len(w.put) == 0 {
		return nil
	}
	b, err := tx.CreateBucketIfNotExists(bucketRecovery)
	if err != nil {
		return err
	}
	errs := []error{useFormat(tx, recoveryStoreFormat)}
	for _, place := range w.doomed {
		errs = append(errs, b.Delete(place), tx.Bucket(bucketMeta).Put(metaScrub, []byte{1}))
	}
	for number, item := range w.put {
		errs = append(errs, b.Put(recoveryPlace(fs, number), item))
	}
	return errors.Join(errs...)
}
