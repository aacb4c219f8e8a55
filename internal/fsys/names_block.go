package fsys

import (
	"encoding/binary"
	"fmt"

	"github.com/efs-project/efs"
)

// item is a key with a value in a block of names. At level 0 the key is what
// an entry is ordered by and the value the entry as it is listed, or empty for
// one that was deleted. Above, the value is the number of the block below that
// begins with the key.
type item struct {
	key   string
	value []byte
}

// appendItem encodes it: how many bytes its key shares with the key before, the
// length of the rest and the rest, the length of the value and the value.
func appendItem(b []byte, before string, it item) []byte {
	n := min(len(before), len(it.key))
	same := 0
	for same < n && before[same] == it.key[same] {
		same++
	}
	b = binary.AppendUvarint(b, uint64(same))
	b = binary.AppendUvarint(b, uint64(len(it.key)-same))
	b = append(b, it.key[same:]...)
	b = binary.AppendUvarint(b, uint64(len(it.value)))
	return append(b, it.value...)
}

// itemRoom is the most that appendItem adds for it, bytes.
func itemRoom(it item) int { return 3*binary.MaxVarintLen32 + len(it.key) + len(it.value) }

var errBlock = fmt.Errorf("%w: a block of names is malformed", efs.ErrDamaged)

// readItems decodes a block, whose keys ascend. The values lie in b.
func readItems(b []byte) ([]item, error) {
	items := make([]item, 0, len(b)/96+1)
	before := ""
	for len(b) > 0 {
		same, ok := cutUvarint(&b)
		rest, ok2 := cutBytes(&b)
		value, ok3 := cutBytes(&b)
		if !ok || !ok2 || !ok3 || same > uint64(len(before)) {
			return nil, errBlock
		}
		key := before[:same] + string(rest)
		if key <= before {
			return nil, errBlock
		}
		items = append(items, item{key, value})
		before = key
	}
	return items, nil
}

func cutUvarint(b *[]byte) (uint64, bool) {
	v, n := binary.Uvarint(*b)
	if n <= 0 {
		return 0, false
	}
	*b = (*b)[n:]
	return v, true
}

func cutBytes(b *[]byte) ([]byte, bool) {
	n, ok := cutUvarint(b)
	if !ok || n > uint64(len(*b)) {
		return nil, false
	}
	v := (*b)[:n:n]
	*b = (*b)[n:]
	return v, true
}

// encodeListed encodes e as listings have it: without what leads to its
// contents. Its name is in the key.
func encodeListed(e *efs.Entry) ([]byte, error) {
	l := *e
	l.Extents, l.Name = nil, ""
	b, err := encodeEntry(&l)
	if err != nil {
		return nil, fmt.Errorf("encoding a listed entry: %w", err)
	}
	return b, nil
}

// decodeListed is the inverse of encodeListed.
func decodeListed(it item) (*efs.Entry, error) {
	e := new(efs.Entry)
	if err := decodeEntry(it.value, e); err != nil {
		return nil, fmt.Errorf("%w: decoding a listed entry: %w", efs.ErrDamaged, err)
	}
	e.Name = it.key
	if e.Kind == efs.KindDir {
		e.Name = it.key[:len(it.key)-1]
	}
	if e.Kind == efs.KindFile && e.DigestKind == 0 {
		return nil, errNamesBefore
	}
	return e, nil
}

// errNamesBefore says that names were kept before listings told the digests of
// files.
var errNamesBefore = fmt.Errorf("%w: names without digests", efs.ErrUnsupported)
