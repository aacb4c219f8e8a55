package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"github.com/efs-project/efs/internal/argon2id"
)

const labelSlotPassphrase = "efs/seal/1/slot/passphrase"

// Argon2Params are the costs of Argon2id (RFC 9106). Zero fields take the
// values of DefaultArgon2.
type Argon2Params struct {
	Time      uint32 // passes
	MemoryKiB uint32
	Threads   uint8
}

// DefaultArgon2 is the second recommended choice of RFC 9106 §4: 3 passes over
// 64 MiB with 4 lanes.
var DefaultArgon2 = Argon2Params{Time: 3, MemoryKiB: 64 << 10, Threads: 4}

// Argon2Limits bound what a sealed file may make a reader do. Zero fields take
// the values of DefaultArgon2Limits.
type Argon2Limits struct {
	Time      uint32
	MemoryKiB uint32
	Threads   uint8
}

// DefaultArgon2Limits allows up to 8 passes over 1 GiB with 16 lanes.
var DefaultArgon2Limits = Argon2Limits{Time: 8, MemoryKiB: 1 << 20, Threads: 16}

// PassphraseRecipient wraps a file key under a passphrase. It must be alone in
// its stage: whoever opens such a stage knows that its sealer knew the
// passphrase. pass is copied.
func PassphraseRecipient(pass []byte, p Argon2Params) (Recipient, error) {
	if len(pass) == 0 {
		return nil, fmt.Errorf("%w: the passphrase is empty", ErrParams)
	}
	if p.Time == 0 {
		p.Time = DefaultArgon2.Time
	}
	if p.MemoryKiB == 0 {
		p.MemoryKiB = DefaultArgon2.MemoryKiB
	}
	if p.Threads == 0 {
		p.Threads = DefaultArgon2.Threads
	}
	if p.MemoryKiB < 8*uint32(p.Threads) {
		return nil, fmt.Errorf("%w: Argon2id needs 8 KiB for each of %d threads", ErrParams, p.Threads)
	}
	return passphraseRecipient{bytes.Clone(pass), p}, nil
}

type passphraseRecipient struct {
	pass []byte
	p    Argon2Params
}

func (r passphraseRecipient) Wrap(fileKey []byte, ctx Context) (Slot, error) {
	s := Slot{
		Type:   SlotPassphrase,
		Salt:   make([]byte, slotSaltLen),
		Params: []uint64{uint64(r.p.Time), uint64(r.p.MemoryKiB), uint64(r.p.Threads)},
	}
	if err := ctx.random(s.Salt); err != nil {
		return Slot{}, fmt.Errorf("making a salt: %w", err)
	}
	wrapKey, err := passphraseKey(r.pass, s.Salt, r.p, ctx)
	if err != nil {
		return Slot{}, err
	}
	s.Body, err = wrapOnce(nil, wrapKey, fileKey)
	return s, err
}

// PassphraseIdentity opens a passphrase slot. A wrong passphrase gives
// ErrNoKey; costs above limit give ErrUnsupported before any work is done.
// pass is copied.
func PassphraseIdentity(pass []byte, limit Argon2Limits) Identity {
	if limit.Time == 0 {
		limit.Time = DefaultArgon2Limits.Time
	}
	if limit.MemoryKiB == 0 {
		limit.MemoryKiB = DefaultArgon2Limits.MemoryKiB
	}
	if limit.Threads == 0 {
		limit.Threads = DefaultArgon2Limits.Threads
	}
	return passphraseIdentity{bytes.Clone(pass), limit}
}

type passphraseIdentity struct {
	pass  []byte
	limit Argon2Limits
}

func (i passphraseIdentity) Unwrap(s Slot, ctx Context) ([]byte, error) {
	if s.Type != SlotPassphrase {
		return nil, ErrNoKey
	}
	if len(s.Key) != 0 || len(s.Salt) != slotSaltLen || len(s.Body) != keyLen+tagLen || len(s.Params) != 3 {
		return nil, fmt.Errorf("%w: slot of a passphrase", ErrFormat)
	}
	time, memory, threads := s.Params[0], s.Params[1], s.Params[2]
	if time > uint64(i.limit.Time) || memory > uint64(i.limit.MemoryKiB) || threads > uint64(i.limit.Threads) {
		return nil, fmt.Errorf("%w: the passphrase asks for %d passes over %d KiB with %d threads; allowed are %d, %d and %d",
			ErrUnsupported, time, memory, threads, i.limit.Time, i.limit.MemoryKiB, i.limit.Threads)
	}
	if time == 0 || threads == 0 || memory < 8*threads {
		return nil, fmt.Errorf("%w: costs of the passphrase", ErrFormat)
	}
	p := Argon2Params{Time: uint32(time), MemoryKiB: uint32(memory), Threads: uint8(threads)}
	wrapKey, err := passphraseKey(i.pass, s.Salt, p, ctx)
	if err != nil {
		return nil, err
	}
	fileKey, err := unwrapOnce(wrapKey, s.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: wrong passphrase", ErrNoKey)
	}
	return fileKey, nil
}

// passphraseKey is HKDF-SHA256(Argon2id(pass, salt), salt, context): the second
// step binds the wrap to its place.
func passphraseKey(pass, salt []byte, p Argon2Params, ctx Context) ([]byte, error) {
	stretched := argon2id.Key(pass, salt, p.Time, p.MemoryKiB, p.Threads, keyLen)
	defer wipe(stretched)
	return hkdf.Key(sha256.New, stretched, salt, string(ctx.Bytes(labelSlotPassphrase)), keyLen)
}
