package record

import (
	"crypto/sha256"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kdf"
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

// mac is HMAC-SHA-256 over a ‖ b. Names fit the buffer, so that nothing is
// allocated, twice per level of every path.
func mac(key *[sha256.Size]byte, a string, b []byte) [sha256.Size]byte {
	var buf [efs.MaxSegment]byte
	defer clear(buf[:])
	return kdf.MAC(key[:], append(buf[:0], a...), b)
}
