// Package record seals what a file system keeps in an index, so that an
// engine sees opaque keys and opaque values of a few sizes and nothing else.
//
// Sealer seals records, changes and heads; Names makes the tokens that stand
// for names. Their keys derive from two roots of the file system's keyring,
// "index" and "names", which are independent of the epochs of its contents.
// docs/index.md specifies all of it.
package record

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/efs-project/efs"
)

// Version is the first byte of every sealed record.
const Version = 1

// Overhead is what sealing adds to a padded plaintext, bytes: format version,
// nonce and tag.
const Overhead = 1 + nonceSize + tagSize

// What a key or associated data is for, where it is not a space of the index.
const (
	forChange byte = 0x80 + iota
	forHead
	forLink
	forLabel
)

const adLabel = "efs record"

// Sealer seals the records of one file system. It is safe for concurrent use.
type Sealer struct {
	fs     efs.ID
	spaces [efs.Spaces + 1]*xaes
	change *xaes
	head   *xaes
	label  *xaes
	labels labeler
	link   [sha256.Size]byte
}

// New derives the sealing keys of file system fs from its index root, 32 bytes
// that the caller wipes.
func New(fs efs.ID, root []byte) (*Sealer, error) {
	if len(root) != keySize {
		return nil, fmt.Errorf("index root has %d bytes, not %d", len(root), keySize)
	}
	s := &Sealer{fs: fs}
	var err error
	for i := 1; i <= efs.Spaces; i++ {
		if s.spaces[i], err = deriveXAES(root, fs, byte(i)); err != nil {
			return nil, err
		}
	}
	if s.change, err = deriveXAES(root, fs, forChange); err != nil {
		return nil, err
	}
	if s.head, err = deriveXAES(root, fs, forHead); err != nil {
		return nil, err
	}
	if s.label, err = deriveXAES(root, fs, forLabel); err != nil {
		return nil, err
	}
	s.labels.x = s.label
	link, err := derive(root, fs, forLink)
	if err != nil {
		return nil, err
	}
	copy(s.link[:], link)
	clear(link)
	return s, nil
}

// derive is HKDF-SHA-256 (RFC 5869) with the file system as salt.
func derive(root []byte, fs efs.ID, purpose byte) ([]byte, error) {
	return hkdf.Key(sha256.New, root, fs[:], adLabel+" key"+string([]byte{purpose}), keySize)
}

func deriveXAES(root []byte, fs efs.ID, purpose byte) (*xaes, error) {
	key, err := derive(root, fs, purpose)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return newXAES(key)
}

// Seal returns plaintext sealed for the record under key in space, padded to
// the next of a few sizes. It opens nowhere else.
func (s *Sealer) Seal(space efs.Space, key, plaintext []byte) ([]byte, error) {
	return s.seal(s.spaces[space], byte(space), key, plaintext)
}

// Open returns what Seal sealed for that space and key, or an error that wraps
// efs.ErrDamaged.
func (s *Sealer) Open(space efs.Space, key, sealed []byte) ([]byte, error) {
	return s.open(s.spaces[space], byte(space), key, sealed, false)
}

// OpenInPlace is Open for a sealed record that is not needed any more: its
// bytes are overwritten, also on failure, and the plaintext lies in them.
func (s *Sealer) OpenInPlace(space efs.Space, key, sealed []byte) ([]byte, error) {
	return s.open(s.spaces[space], byte(space), key, sealed, true)
}

// SealChange seals a change for the log. Its place in the log is bound by the
// chain of links.
func (s *Sealer) SealChange(plaintext []byte) ([]byte, error) {
	return s.seal(s.change, forChange, nil, plaintext)
}

// OpenChange returns what SealChange sealed, or efs.ErrDamaged.
func (s *Sealer) OpenChange(sealed []byte) ([]byte, error) {
	return s.open(s.change, forChange, nil, sealed, false)
}

// OpenLabel returns what SealLabel sealed, or efs.ErrDamaged.
func (s *Sealer) OpenLabel(sealed []byte) ([]byte, error) {
	return s.open(s.label, forLabel, nil, sealed, false)
}

// adBuf holds associated data: the label, the format version, the tag of an
// erasure unit, the file system, the purpose and a key of up to 64 bytes. Passed to an interface it would else
// be allocated for every record.
type adBuf [len(adLabel) + 1 + TagSize + 16 + 1 + 64]byte

var adBufs = sync.Pool{New: func() any { return new(adBuf) }}

func (s *Sealer) ad(buf *adBuf, purpose byte, key []byte) []byte {
	b := append(buf[:0], adLabel...)
	b = append(b, Version)
	b = append(b, s.fs[:]...)
	b = append(b, purpose)
	return append(b, key...)
}

func (s *Sealer) seal(x *xaes, purpose byte, key, plaintext []byte) ([]byte, error) {
	out := make([]byte, 0, Overhead+paddedSize(len(plaintext)))
	buf := adBufs.Get().(*adBuf)
	defer adBufs.Put(buf)
	return appendSealed(append(out, Version), x, s.ad(buf, purpose, key), plaintext)
}

// appendSealed appends a fresh nonce and the padded and sealed plaintext to
// out, which has room for them.
func appendSealed(out []byte, x *xaes, ad, plaintext []byte) ([]byte, error) {
	head, n := len(out)+nonceSize, paddedSize(len(plaintext))
	out = out[:head+n]
	nonce, body := out[head-nonceSize:head], out[head:]
	rand.Read(nonce) // never fails: crypto/rand ends the program instead
	copy(body, plaintext)
	body[len(plaintext)] = padMark
	sealed, err := x.seal(body[:0], nonce, body, ad)
	if err != nil {
		return nil, fmt.Errorf("sealing record: %w", err)
	}
	return out[:head+len(sealed)], nil
}

func (s *Sealer) open(x *xaes, purpose byte, key, sealed []byte, inPlace bool) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, fmt.Errorf("%w: index record of %d bytes", efs.ErrDamaged, len(sealed))
	}
	if sealed[0] != Version {
		return nil, fmt.Errorf("%w: index record of format %d, this version knows %d", efs.ErrDamaged, sealed[0], Version)
	}
	dst := sealed[1+nonceSize : 1+nonceSize]
	if !inPlace {
		dst = make([]byte, 0, len(sealed)-1-nonceSize)
	}
	buf := adBufs.Get().(*adBuf)
	defer adBufs.Put(buf)
	return openSealed(dst, x, s.ad(buf, purpose, key), sealed[1:])
}

// openSealed opens nonce ‖ sealed, appends the padded plaintext to dst and
// returns the plaintext.
func openSealed(dst []byte, x *xaes, ad, sealed []byte) ([]byte, error) {
	plain, err := x.open(dst, sealed[:nonceSize], sealed[nonceSize:], ad)
	if err != nil {
		return nil, fmt.Errorf("%w: an index record is not what was written there", efs.ErrDamaged)
	}
	return unpad(plain)
}
