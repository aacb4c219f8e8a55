package record

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"github.com/efs-project/efs"
)

// UnitVersion is the first byte of the sealed records of erasure units.
const UnitVersion = 2

// TagSize is the length, in bytes, of the tag that leads from a record to its
// erasure unit.
const TagSize = 16

// UnitOverhead is Overhead for the records of erasure units.
const UnitOverhead = Overhead + TagSize

// Unit seals the records of one erasure unit. All of them, of whatever space,
// are under one key: what a record is for is bound by its associated data, and
// the nonces of XAES-256-GCM may be random for 2^80 messages. It is safe for
// concurrent use.
type Unit struct {
	fs  efs.ID
	key *xaes
	tag func() ([TagSize]byte, error)
}

// NewUnit derives the sealing key of an erasure unit of file system fs from
// the unit's root for records, 32 bytes that the caller wipes. tag returns a
// fresh tag of the unit at each call.
func NewUnit(fs efs.ID, root []byte, tag func() ([TagSize]byte, error)) (*Unit, error) {
	if len(root) != keySize {
		return nil, fmt.Errorf("root of a unit's records has %d bytes, not %d", len(root), keySize)
	}
	key, err := hkdf.Key(sha256.New, root, fs[:], adLabel+" unit key", keySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	x, err := newXAES(key)
	if err != nil {
		return nil, err
	}
	return &Unit{fs: fs, key: x, tag: tag}, nil
}

// UnitTag returns the tag that a sealed record, change or label begins with,
// if it was sealed by a Unit. It is proven only by opening it.
func UnitTag(sealed []byte) (tag [TagSize]byte, ok bool) {
	if len(sealed) < 1+TagSize || sealed[0] != UnitVersion {
		return tag, false
	}
	return [TagSize]byte(sealed[1:]), true
}

// Seal is Sealer.Seal under the unit's key.
func (u *Unit) Seal(space efs.Space, key, plaintext []byte) ([]byte, error) {
	return u.seal(byte(space), key, plaintext)
}

// Open is Sealer.Open for what a Unit sealed.
func (u *Unit) Open(space efs.Space, key, sealed []byte) ([]byte, error) {
	return u.open(byte(space), key, sealed)
}

// SealChange is Sealer.SealChange under the unit's key.
func (u *Unit) SealChange(plaintext []byte) ([]byte, error) { return u.seal(forChange, nil, plaintext) }

// OpenChange is Sealer.OpenChange for what a Unit sealed.
func (u *Unit) OpenChange(sealed []byte) ([]byte, error) { return u.open(forChange, nil, sealed) }

// SealLabel is Sealer.SealLabel under the unit's key.
func (u *Unit) SealLabel(plaintext []byte) ([]byte, error) { return u.seal(forLabel, nil, plaintext) }

// OpenLabel is Sealer.OpenLabel for what a Unit sealed.
func (u *Unit) OpenLabel(sealed []byte) ([]byte, error) { return u.open(forLabel, nil, sealed) }

// seal returns version ‖ tag ‖ nonce ‖ sealed. Version and tag are part of the
// associated data.
func (u *Unit) seal(purpose byte, key, plaintext []byte) ([]byte, error) {
	tag, err := u.tag()
	if err != nil {
		return nil, fmt.Errorf("sealing record: %w", err)
	}
	out := make([]byte, 0, UnitOverhead+paddedSize(len(plaintext)))
	out = append(append(out, UnitVersion), tag[:]...)
	buf := adBufs.Get().(*adBuf)
	defer adBufs.Put(buf)
	return appendSealed(out, u.key, u.ad(buf, tag, purpose, key), plaintext)
}

func (u *Unit) open(purpose byte, key, sealed []byte) ([]byte, error) {
	tag, ok := UnitTag(sealed)
	if !ok || len(sealed) < UnitOverhead {
		return nil, fmt.Errorf("%w: record of an erasure unit, of %d bytes", efs.ErrDamaged, len(sealed))
	}
	body := sealed[1+TagSize:]
	buf := adBufs.Get().(*adBuf)
	defer adBufs.Put(buf)
	return openSealed(make([]byte, 0, len(body)), u.key, u.ad(buf, tag, purpose, key), body)
}

func (u *Unit) ad(buf *adBuf, tag [TagSize]byte, purpose byte, key []byte) []byte {
	b := append(buf[:0], adLabel...)
	b = append(append(b, UnitVersion), tag[:]...)
	b = append(b, u.fs[:]...)
	b = append(b, purpose)
	return append(b, key...)
}
