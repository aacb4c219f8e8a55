package starter

import (
	"crypto/rand"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/argon2id"
	"github.com/efs-project/efs/internal/secret"
)

// KDF says how a starter key is made from a passphrase (Argon2id, RFC 9106).
// It is kept, readable, in root.json.
type KDF struct {
	Algorithm string `json:"algorithm" cbor:"1,keyasint"` // "argon2id"
	Salt      []byte `json:"salt" cbor:"2,keyasint"`      // 16 bytes
	Time      uint32 `json:"time" cbor:"3,keyasint"`      // passes
	Memory    uint32 `json:"memory_kib" cbor:"4,keyasint"`
	Threads   uint8  `json:"threads" cbor:"5,keyasint"`
}

// The second recommended choice of RFC 9106 §4, and what is accepted at most:
// root.json can be written by others, and must not make the server take all
// memory or hours.
const (
	kdfAlgorithm   = "argon2id"
	kdfTime        = 3
	kdfMemory      = 64 << 10
	kdfThreads     = 4
	kdfSaltSize    = 16
	kdfMaxTime     = 32
	kdfMaxMemory   = 2 << 20
	minPassphrase  = 12
	passphraseFrom = "passphrase"
)

func newKDF() *KDF {
	salt := make([]byte, kdfSaltSize)
	_, _ = rand.Read(salt)
	return &KDF{Algorithm: kdfAlgorithm, Salt: salt, Time: kdfTime, Memory: kdfMemory, Threads: kdfThreads}
}

// check bounds the parameters before any work is done with them.
func (k *KDF) check() error {
	switch {
	case k.Algorithm != kdfAlgorithm, len(k.Salt) != kdfSaltSize,
		k.Time < 1, k.Time > kdfMaxTime,
		k.Threads < 1, k.Memory < 8*uint32(k.Threads), k.Memory > kdfMaxMemory:
		return fmt.Errorf("%w: root.json has passphrase parameters that EFS does not write: put the right root.json back", efs.ErrDamaged)
	}
	return nil
}

// key makes the starter key. The caller wipes pass.
func (k *KDF) key(pass []byte) (*secret.Key, error) {
	return secret.NewKey(argon2id.Key(pass, k.Salt, k.Time, k.Memory, k.Threads, secret.Size))
}
