package journal

import (
	"encoding/binary"
	"fmt"

	"github.com/efs-project/efs"
)

// The items that the plaintext of chunks consists of; numbers are big-endian.
// No item lies in two chunks.
const (
	itemPut     byte = 1 + iota // space (1) ‖ version (8) ‖ length of key (2) ‖ of value (4) ‖ key ‖ value
	itemDelete                  // space (1) ‖ length of key (2) ‖ key
	itemQueue                   // revision (8) ‖ content (16) ‖ sequence number (8) ‖ 1 if inline, else 0 (1)
	itemUnqueue                 // revision (8) ‖ content (16)
	itemHead                    // revision before (8) ‖ revision (8) ‖ sequence number (8) ‖ link (32) ‖ time (8)
)

const (
	putLen     = 1 + 1 + 8 + 2 + 4
	deleteLen  = 1 + 1 + 2
	queueLen   = 1 + 8 + 16 + 8 + 1
	unqueueLen = 1 + 8 + 16
	headLen    = 1 + 8 + 8 + 8 + 32 + 8
)

func appendPut(b []byte, k efs.Key, version uint64, sealed []byte) []byte {
	b = append(b, itemPut, byte(k.Space))
	b = binary.BigEndian.AppendUint64(b, version)
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.Bytes)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(sealed)))
	b = append(b, k.Bytes...)
	return append(b, sealed...)
}

func appendDelete(b []byte, k efs.Key) []byte {
	b = append(b, itemDelete, byte(k.Space))
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.Bytes)))
	return append(b, k.Bytes...)
}

func appendQueue(b []byte, r efs.Release) []byte {
	b = append(b, itemQueue)
	b = binary.BigEndian.AppendUint64(b, r.Revision)
	b = append(b, r.Content[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Seq)
	if r.Inline {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendUnqueue(b []byte, r efs.Release) []byte {
	b = append(b, itemUnqueue)
	b = binary.BigEndian.AppendUint64(b, r.Revision)
	return append(b, r.Content[:]...)
}

func appendHead(b []byte, before uint64, h efs.Head) []byte {
	b = append(b, itemHead)
	b = binary.BigEndian.AppendUint64(b, before)
	b = binary.BigEndian.AppendUint64(b, h.Revision)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	b = append(b, h.Link[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(h.Time))
}

// item is one of them, read.
type item struct {
	kind    byte
	key     efs.Key
	version uint64
	sealed  []byte
	release efs.Release
	before  uint64
	head    efs.Head
}

var errItem = fmt.Errorf("%w: an item makes no sense", efs.ErrDamaged)

// nextItem reads the item that b, which is not empty, begins with. What it
// refers to lies in b.
func nextItem(b []byte) (it item, rest []byte, err error) {
	it.kind = b[0]
	var n int
	switch it.kind {
	case itemPut:
		n = putLen
	case itemDelete:
		n = deleteLen
	case itemQueue:
		n = queueLen
	case itemUnqueue:
		n = unqueueLen
	case itemHead:
		n = headLen
	default:
		return it, nil, errItem
	}
	if len(b) < n {
		return it, nil, errItem
	}
	fixed, rest := b[1:n], b[n:]
	u64 := binary.BigEndian.Uint64
	switch it.kind {
	case itemPut:
		it.version = u64(fixed[1:])
		keyLen, valLen := int(binary.BigEndian.Uint16(fixed[9:])), uint64(binary.BigEndian.Uint32(fixed[11:]))
		if uint64(len(rest)) < uint64(keyLen)+valLen {
			return it, nil, errItem
		}
		it.key = efs.Key{Space: efs.Space(fixed[0]), Bytes: rest[:keyLen:keyLen]}
		end := keyLen + int(valLen)
		it.sealed, rest = rest[keyLen:end:end], rest[end:]
	case itemDelete:
		keyLen := int(binary.BigEndian.Uint16(fixed[1:]))
		if len(rest) < keyLen {
			return it, nil, errItem
		}
		it.key, rest = efs.Key{Space: efs.Space(fixed[0]), Bytes: rest[:keyLen:keyLen]}, rest[keyLen:]
	case itemQueue:
		it.release = efs.Release{Revision: u64(fixed), Content: efs.ID(fixed[8:24]), Seq: u64(fixed[24:]), Inline: fixed[32] == 1}
	case itemUnqueue:
		it.release = efs.Release{Revision: u64(fixed), Content: efs.ID(fixed[8:24])}
	case itemHead:
		it.before = u64(fixed)
		it.head = efs.Head{Revision: u64(fixed[8:]), Seq: u64(fixed[16:]), Link: [32]byte(fixed[24:56]), Time: int64(u64(fixed[56:]))}
	}
	return it, rest, nil
}

// visit tells v of an item.
func (v *Visitor) visit(it *item) error {
	switch {
	case it.kind == itemPut && v.Put != nil:
		return v.Put(it.key, it.version, it.sealed)
	case it.kind == itemDelete && v.Delete != nil:
		return v.Delete(it.key)
	case it.kind == itemQueue && v.Queue != nil:
		return v.Queue(it.release)
	case it.kind == itemUnqueue && v.Unqueue != nil:
		return v.Unqueue(it.release)
	}
	return nil
}
