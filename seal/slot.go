package seal

import (
	"crypto/rand"
	"io"
)

// SlotType says how a slot wraps a file key.
type SlotType uint8

// The slot types. From 128 on they belong to applications with Recipients and
// Identities of their own; the rest is reserved.
const (
	SlotKey        SlotType = 1 // a key-encryption key held elsewhere
	SlotPassphrase SlotType = 2 // Argon2id
	SlotHPKE       SlotType = 3 // a public key
)

// Slot is a stage's file key wrapped for one recipient. It lies in the header,
// in clear; the header's MAC covers it.
type Slot struct {
	Type   SlotType
	Key    []byte   // which key or recipient; up to 64 bytes
	Salt   []byte   // up to 64 bytes
	Params []uint64 // up to 8 numbers
	Body   []byte   // the wrapped file key; up to 4096 bytes
}

// Context is what a wrapped file key is bound to: moved to another file, stage
// or suite, it must not open.
type Context struct {
	FS, Content [16]byte
	Stage       int // counted from 0
	Suite       Suite

	rand io.Reader
}

// Bytes returns label ‖ FS ‖ Content ‖ stage ‖ suite, the last two one byte
// each: what a Recipient mixes into its wrap.
func (c Context) Bytes(label string) []byte {
	b := make([]byte, 0, len(label)+34)
	b = append(b, label...)
	b = append(b, c.FS[:]...)
	b = append(b, c.Content[:]...)
	return append(b, byte(c.Stage), byte(c.Suite))
}

// random fills b: from crypto/rand, but for test vectors.
func (c Context) random(b []byte) error {
	r := c.rand
	if r == nil {
		r = rand.Reader
	}
	_, err := io.ReadFull(r, b)
	return err
}

// Recipient wraps a stage's file key, 32 bytes, into a slot. It must not keep
// fileKey.
type Recipient interface {
	Wrap(fileKey []byte, ctx Context) (Slot, error)
}

// Identity opens a slot. ErrNoKey means that the slot is not for this identity,
// and the next is tried; any other error ends the opening. The caller wipes
// the file key.
type Identity interface {
	Unwrap(s Slot, ctx Context) (fileKey []byte, err error)
}

// KEK is a key-encryption key held elsewhere, in a keyring: it need not leave
// the memory it is guarded in.
type KEK interface {
	// ID names the key in slots. It is visible.
	ID() [16]byte
	// Derive is HKDF-SHA256(key, salt, info), 32 bytes (RFC 5869). The caller
	// wipes the result.
	Derive(salt, info []byte) ([]byte, error)
}
