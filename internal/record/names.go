package record

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/lru"
)

// Token stands for a name in the index: HMAC-SHA-256(name key of the
// directory, name) cut to 16 bytes.
type Token [16]byte

// nameKeys is how many directories' name keys are kept ready.
const nameKeys = 1 << 14

// Names makes tokens. It is safe for concurrent use.
type Names struct {
	root  [sha256.Size]byte
	cache *lru.Cache[efs.ID, [sha256.Size]byte]
}

// NewNames takes the name root of a file system, 32 bytes that the caller
// wipes.
func NewNames(root []byte) (*Names, error) {
	if len(root) != sha256.Size {
		return nil, fmt.Errorf("name root has %d bytes, not %d", len(root), sha256.Size)
	}
	return &Names{root: [sha256.Size]byte(root), cache: lru.New[efs.ID, [sha256.Size]byte](nameKeys)}, nil
}

// Entry returns the token of name in directory dir. Equal names in different
// directories have unrelated tokens.
func (n *Names) Entry(dir efs.ID, name string) Token {
	key, ok := n.cache.Get(dir)
	if !ok {
		key = mac(&n.root, "efs name key", dir[:])
		n.cache.Put(dir, key)
	}
	sum := mac(&key, name, nil)
	return Token(sum[:16])
}

// Access returns the token of a kind of access record, or, with its name, of
// the record.
func (n *Names) Access(kind string, name *string) Token {
	key := mac(&n.root, "efs access key", nil)
	sum := mac(&key, kind, nil)
	if name != nil {
		sum = mac(&sum, *name, nil)
	}
	return Token(sum[:16])
}

// mac is HMAC-SHA-256 (RFC 2104) over a ‖ b under a key of 32 bytes. It is
// spelled out because it then works on the stack, twice per level of every
// path.
func mac(key *[sha256.Size]byte, a string, b []byte) [sha256.Size]byte {
	const block = sha256.BlockSize
	var pad [block]byte
	for i := range pad {
		pad[i] = 0x36
	}
	subtle.XORBytes(pad[:], pad[:], key[:])
	var buf [block + 320]byte
	msg := append(append(append(buf[:0], pad[:]...), a...), b...)
	inner := sha256.Sum256(msg)
	for i := range pad {
		pad[i] ^= 0x36 ^ 0x5c
	}
	var out [block + sha256.Size]byte
	copy(out[:], pad[:])
	copy(out[block:], inner[:])
	sum := sha256.Sum256(out[:])
	clear(buf[:])
	clear(out[:])
	return sum
}
