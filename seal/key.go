package seal

import (
	"crypto/cipher"
	"fmt"

	zero "github.com/efs-project/efs/internal/wipe"
)

const labelSlotKey = "efs/seal/1/slot/key"

const slotSaltLen = 32

var zeroNonce [12]byte

// KeyRecipient wraps file keys under k. Each wrap has a key of its own,
// k.Derive(fresh 256-bit salt, context), as XAES-256-GCM (C2SP) extends
// AES-256-GCM: k may wrap any number of file keys, and the derived key seals
// exactly one, so that its nonce may be zero.
func KeyRecipient(k KEK) Recipient { return keyRecipient{k} }

type keyRecipient struct{ kek KEK }

func (r keyRecipient) Wrap(fileKey []byte, ctx Context) (Slot, error) {
	const key, salt, body = 16, 16 + slotSaltLen, 16 + slotSaltLen + keyLen + tagLen // where each ends
	b := make([]byte, body)
	s := Slot{Type: SlotKey, Key: b[:key:key], Salt: b[key:salt:salt], Body: b[salt:]}
	id := r.kek.ID()
	copy(s.Key, id[:])
	if err := ctx.random(s.Salt); err != nil {
		return Slot{}, fmt.Errorf("making a salt: %w", err)
	}
	wrapKey, err := r.kek.Derive(s.Salt, ctx.Bytes(labelSlotKey))
	if err != nil {
		return Slot{}, err
	}
	s.Body, err = wrapOnce(s.Body[:0], wrapKey, fileKey)
	return s, err
}

// KeyIdentity opens slots of keys that find returns. find answers ErrNoKey for
// keys it does not hold; any other error, such as that of a KMS that does not
// answer, ends the opening and is passed on.
func KeyIdentity(find func(id [16]byte) (KEK, error)) Identity { return keyIdentity{find} }

type keyIdentity struct {
	find func(id [16]byte) (KEK, error)
}

func (i keyIdentity) Unwrap(s Slot, ctx Context) ([]byte, error) {
	if s.Type != SlotKey {
		return nil, ErrNoKey
	}
	if len(s.Key) != 16 || len(s.Salt) != slotSaltLen || len(s.Body) != keyLen+tagLen || len(s.Params) != 0 {
		return nil, fmt.Errorf("%w: slot of a key", ErrFormat)
	}
	kek, err := i.find([16]byte(s.Key))
	if err != nil {
		return nil, err
	}
	wrapKey, err := kek.Derive(s.Salt, ctx.Bytes(labelSlotKey))
	if err != nil {
		return nil, err
	}
	fileKey, err := unwrapOnce(wrapKey, s.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: the wrapped key does not fit its key", ErrTampered)
	}
	return fileKey, nil
}

// wrapOnce appends to dst fileKey, sealed with AES-256-GCM under a key that is
// used for nothing else, and wipes that key.
func wrapOnce(dst, wrapKey, fileKey []byte) ([]byte, error) {
	aead, err := onceAEAD(wrapKey)
	if err != nil {
		return nil, err
	}
	defer zero.Object(aead)
	return aead.Seal(dst, zeroNonce[:], fileKey, nil), nil
}

// unwrapOnce opens what wrapOnce sealed, and wipes wrapKey.
func unwrapOnce(wrapKey, body []byte) ([]byte, error) {
	aead, err := onceAEAD(wrapKey)
	if err != nil {
		return nil, err
	}
	defer zero.Object(aead)
	return aead.Open(make([]byte, 0, keyLen), zeroNonce[:], body, nil)
}

func onceAEAD(wrapKey []byte) (cipher.AEAD, error) {
	defer wipe(wrapKey)
	if len(wrapKey) != keyLen {
		return nil, fmt.Errorf("%w: a key-encryption key derived %d bytes, not %d", ErrParams, len(wrapKey), keyLen)
	}
	return newAEAD(AES256GCM, wrapKey)
}
