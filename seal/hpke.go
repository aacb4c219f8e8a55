package seal

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
)

const (
	labelSlotHPKE  = "efs/seal/1/slot/hpke"
	labelRecipient = "efs/seal/1/recipient"

	publicPrefix  = "efs"
	privatePrefix = "efs-secret-key-"
)

// hpkeKEM is MLKEM768-X25519 (X-Wing, KEM id 0x647a): safe as long as one of a
// lattice and an elliptic curve is.
func hpkeKEM() hpke.KEM { return hpke.MLKEM768X25519() }

// PublicKey is a Recipient: file keys are wrapped with HPKE (RFC 9180) in base
// mode, KEM MLKEM768-X25519, HKDF-SHA256, AES-256-GCM.
type PublicKey struct {
	key hpke.PublicKey
	id  [16]byte
}

// PrivateKey is an Identity for what was wrapped to its PublicKey.
type PrivateKey struct {
	key hpke.PrivateKey
	pub *PublicKey
}

// GenerateKeyPair makes a key pair. Keep the private key's String where sealed
// files are not.
func GenerateKeyPair() (*PrivateKey, error) {
	k, err := hpkeKEM().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("generating a key pair: %w", err)
	}
	return newPrivateKey(k), nil
}

func newPrivateKey(k hpke.PrivateKey) *PrivateKey {
	return &PrivateKey{k, newPublicKey(k.PublicKey())}
}

func newPublicKey(k hpke.PublicKey) *PublicKey {
	sum := sha256.Sum256(append([]byte(labelRecipient), k.Bytes()...))
	return &PublicKey{k, [16]byte(sum[:])}
}

// Public returns the public half.
func (k *PrivateKey) Public() *PublicKey { return k.pub }

// Text returns the secret text form, "EFS-SECRET-KEY-1…", which ParseIdentity
// reads. String does not, so that no log prints the key by accident.
func (k *PrivateKey) Text() (string, error) {
	seed, err := k.key.Bytes()
	if err != nil {
		return "", fmt.Errorf("encoding the private key: %w", err)
	}
	defer wipe(seed)
	data := binary.BigEndian.AppendUint16(nil, hpkeKEM().ID())
	data = append(data, seed...)
	defer wipe(data)
	return strings.ToUpper(bech32Encode(privatePrefix, data)), nil
}

// String names the key by the first bytes of its public half's ID.
func (k *PrivateKey) String() string { return "private key of " + k.pub.hint() }

// GoString is String: %#v must not print the key either.
func (k *PrivateKey) GoString() string { return k.String() }

// ID is SHA-256(label ‖ public key) cut to 16 bytes. It stands in the slot, so
// that a reader knows which of its keys to use.
func (k *PublicKey) ID() [16]byte { return k.id }

func (k *PublicKey) hint() string { return fmt.Sprintf("%x", k.id[:4]) }

// String returns the text form, "efs1…", which ParseRecipient reads.
func (k *PublicKey) String() string {
	data := binary.BigEndian.AppendUint16(nil, hpkeKEM().ID())
	return bech32Encode(publicPrefix, append(data, k.key.Bytes()...))
}

// ParseRecipient reads a public key, "efs1…".
func ParseRecipient(s string) (Recipient, error) {
	data, err := parseKeyText(s, publicPrefix, "public key (efs1…)")
	if err != nil {
		return nil, err
	}
	k, err := hpkeKEM().NewPublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("%w: public key: %w", ErrFormat, err)
	}
	return newPublicKey(k), nil
}

// ParseIdentity reads a private key, "EFS-SECRET-KEY-1…".
func ParseIdentity(s string) (Identity, error) {
	data, err := parseKeyText(s, privatePrefix, "private key (EFS-SECRET-KEY-1…)")
	if err != nil {
		return nil, err
	}
	defer wipe(data)
	k, err := hpkeKEM().NewPrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("%w: private key of wrong length", ErrFormat)
	}
	return newPrivateKey(k), nil
}

// parseKeyText checks prefix and KEM of a text form and returns the key's
// bytes. Its errors quote nothing of the text.
func parseKeyText(s, prefix, what string) ([]byte, error) {
	got, data, err := bech32Decode(strings.TrimSpace(s))
	if err != nil || got != prefix || len(data) < 2 {
		return nil, fmt.Errorf("%w: this is no %s, or it was mistyped", ErrFormat, what)
	}
	if id := binary.BigEndian.Uint16(data); id != hpkeKEM().ID() {
		return nil, fmt.Errorf("%w: %s of kind %#04x", ErrUnsupported, what, id)
	}
	return data[2:], nil
}

// Wrap seals fileKey to the public key.
func (k *PublicKey) Wrap(fileKey []byte, ctx Context) (Slot, error) {
	body, err := hpke.Seal(k.key, hpke.HKDFSHA256(), hpke.AES256GCM(), ctx.Bytes(labelSlotHPKE), fileKey)
	if err != nil {
		return Slot{}, fmt.Errorf("sealing to a public key: %w", err)
	}
	return Slot{
		Type:   SlotHPKE,
		Key:    bytes.Clone(k.id[:]),
		Params: []uint64{uint64(hpkeKEM().ID()), uint64(hpke.HKDFSHA256().ID()), uint64(hpke.AES256GCM().ID())},
		Body:   body,
	}, nil
}

// Unwrap opens a slot that was sealed to the public half.
func (k *PrivateKey) Unwrap(s Slot, ctx Context) ([]byte, error) {
	if s.Type != SlotHPKE {
		return nil, ErrNoKey
	}
	if len(s.Key) != len(k.pub.id) || len(s.Params) != 3 || len(s.Salt) != 0 {
		return nil, fmt.Errorf("%w: slot of a public key", ErrFormat)
	}
	if !bytes.Equal(s.Key, k.pub.id[:]) {
		return nil, ErrNoKey
	}
	if s.Params[0] != uint64(hpkeKEM().ID()) || s.Params[1] != uint64(hpke.HKDFSHA256().ID()) || s.Params[2] != uint64(hpke.AES256GCM().ID()) {
		return nil, fmt.Errorf("%w: HPKE suite %v", ErrUnsupported, s.Params)
	}
	fileKey, err := hpke.Open(k.key, hpke.HKDFSHA256(), hpke.AES256GCM(), ctx.Bytes(labelSlotHPKE), s.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: the wrapped key does not fit its public key", ErrTampered)
	}
	return fileKey, nil
}
