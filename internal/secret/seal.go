package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"

	"github.com/efs-project/efs/internal/wipe"
)

// Overhead is what Seal adds to a plaintext, in bytes: salt and tag.
const Overhead = saltSize + tagSize

const (
	saltSize = 32
	tagSize  = 16
)

// ErrOpen is the error of sealed bytes that are not of this key and info, or
// were changed.
var ErrOpen = errors.New("sealed bytes do not open")

// Seal seals a plaintext: a fresh random salt of 32 bytes, then AES-256-GCM
// under HKDF(key, salt, info). The derived key seals once, so the nonce is
// zero, and a key may seal without bound (the idea of XAES-256-GCM, C2SP).
// info binds what the bytes are for; it is not stored.
func (k *Key) Seal(plaintext, info []byte) ([]byte, error) {
	out := make([]byte, saltSize, saltSize+len(plaintext)+tagSize)
	_, _ = rand.Read(out)
	aead, err := k.aead(out, info)
	if err != nil {
		return nil, err
	}
	defer wipe.Object(aead)
	var nonce [12]byte
	return aead.Seal(out, nonce[:], plaintext, info), nil
}

// Open returns what Seal sealed with the same key and info, on the ordinary
// heap; the caller wipes it. ErrOpen, ErrDestroyed.
func (k *Key) Open(sealed, info []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrOpen
	}
	aead, err := k.aead(sealed[:saltSize], info)
	if err != nil {
		return nil, err
	}
	defer wipe.Object(aead)
	var nonce [12]byte
	plaintext, err := aead.Open(nil, nonce[:], sealed[saltSize:], info)
	if err != nil {
		return nil, ErrOpen
	}
	return plaintext, nil
}

func (k *Key) aead(salt, info []byte) (cipher.AEAD, error) {
	derived, err := k.Derive(salt, info)
	if err != nil {
		return nil, err
	}
	defer Wipe(derived)
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	defer wipe.Object(block) // NewGCM copies it
	return cipher.NewGCM(block)
}
