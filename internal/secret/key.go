package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/efs-project/efs/internal/kdf"
)

// Size is the length of every key, in bytes.
const Size = 32

// ErrDestroyed is the error of using a key after Destroy or Purge.
var ErrDestroyed = errors.New("key was destroyed")

// Key is a key of 32 bytes in locked, guarded memory. Its methods are safe for
// concurrent use. A Key is never copied into an error, a log or a format verb.
type Key struct{ s *slot }

// NewKey moves b, which must be 32 bytes, into locked memory and wipes b, also
// when it fails. Its error tells what to do when memory cannot be locked.
func NewKey(b []byte) (*Key, error) {
	defer Wipe(b)
	if len(b) != Size {
		return nil, fmt.Errorf("a key has %d bytes, not %d", Size, len(b))
	}
	s, err := heap.take()
	if err != nil {
		return nil, err
	}
	if err := s.with(func(dst []byte) { copy(dst, b) }); err != nil {
		return nil, err
	}
	return &Key{s}, nil
}

// RandomKey makes a fresh random key.
func RandomKey() (*Key, error) {
	b := make([]byte, Size)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return NewKey(b)
}

// With calls f with the key's bytes, which f must neither keep nor change; f
// must not use this or another Key.
// ErrDestroyed if there are none any more.
func (k *Key) With(f func(b []byte)) error { return k.s.with(f) }

// Update calls f with the key's bytes for f to replace them in place, as keys
// that evolve do. The caller sees to it that nobody else uses this Key
// meanwhile; f must not keep the bytes nor use this or another Key.
// ErrDestroyed if there are none any more.
func (k *Key) Update(f func(b []byte)) error { return k.s.with(f) }

// Derive returns HKDF-SHA256 (RFC 5869) of the key with salt and info, 32
// bytes on the ordinary heap; the caller wipes them.
func (k *Key) Derive(salt, info []byte) ([]byte, error) {
	out := make([]byte, Size)
	err := k.With(func(b []byte) {
		key := kdf.HKDF(b, salt, info)
		copy(out, key[:])
		clear(key[:])
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Equal reports, in constant time, whether k and o hold the same bytes.
// Destroyed keys equal nothing.
func (k *Key) Equal(o *Key) bool {
	copied := make([]byte, Size)
	defer Wipe(copied)
	if o.With(func(b []byte) { copy(copied, b) }) != nil {
		return false
	}
	equal := false
	err := k.With(func(b []byte) { equal = subtle.ConstantTimeCompare(b, copied) == 1 })
	return err == nil && equal
}

// Destroy wipes the key and gives its memory back. Again does nothing.
func (k *Key) Destroy() { k.s.free() }

// String hides the key from format verbs.
func (k *Key) String() string { return "secret.Key" }

// GoString hides the key from %#v.
func (k *Key) GoString() string { return "secret.Key" }

// Wipe overwrites b with zeros.
func Wipe(b []byte) { clear(b) }

// WipeAll overwrites several, with the room behind each.
func WipeAll(all [][]byte) {
	for _, b := range all {
		Wipe(b[:cap(b)])
	}
}
