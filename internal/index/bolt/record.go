package bolt

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// A record is what one batch wrote, as it lies in a segment; see
// docs/index-engine.md.
const (
	recordHeader = 64
	recordFormat = 1
	recordAlign  = 4096
)

var (
	recordMagic = []byte("EFSL")
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

// recordMeta is what the header of a record says, but for length and checksum.
type recordMeta struct {
	log           [16]byte
	number        uint64
	before, after uint64 // revisions
	ops           uint64
}

// closeRecord writes the header of the record in b, whose operations are
// complete.
func closeRecord(b []byte, m recordMeta) {
	copy(b, recordMagic)
	binary.BigEndian.PutUint32(b[8:], recordFormat)
	binary.BigEndian.PutUint32(b[12:], uint32(len(b)))
	copy(b[16:], m.log[:])
	binary.BigEndian.PutUint64(b[32:], m.number)
	binary.BigEndian.PutUint64(b[40:], m.before)
	binary.BigEndian.PutUint64(b[48:], m.after)
	binary.BigEndian.PutUint64(b[56:], m.ops)
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
}

// openRecord returns the record that b begins with, and its length; ok if there is
// a whole one.
func openRecord(b []byte) (m recordMeta, n int, ok bool) {
	if len(b) < recordHeader || !bytes.HasPrefix(b, recordMagic) {
		return m, 0, false
	}
	length := binary.BigEndian.Uint32(b[12:])
	if length < recordHeader || int64(length) > int64(len(b)) ||
		binary.BigEndian.Uint32(b[4:]) != crc32.Checksum(b[8:length], castagnoli) ||
		binary.BigEndian.Uint32(b[8:]) != recordFormat {
		return m, 0, false
	}
	copy(m.log[:], b[16:])
	m.number = binary.BigEndian.Uint64(b[32:])
	m.before = binary.BigEndian.Uint64(b[40:])
	m.after = binary.BigEndian.Uint64(b[48:])
	m.ops = binary.BigEndian.Uint64(b[56:])
	return m, int(length), true
}

// eachOp calls fn with where each operation of a record begins. It reports whether they
// make sense.
func eachOp(b []byte, fn func(at, keyLen int, valLen uint32)) bool {
	for at := recordHeader; at < len(b); {
		if len(b)-at < opHeader {
			return false
		}
		keyLen := int(binary.BigEndian.Uint16(b[at:]))
		valLen := binary.BigEndian.Uint32(b[at+2:])
		end := int64(at) + opHeader + int64(keyLen)
		if valLen != tombstone {
			end += int64(valLen)
		}
		if end > int64(len(b)) || keyLen == 0 || bucketName(b[at+6]) == nil {
			return false
		}
		fn(at, keyLen, valLen)
		at = int(end)
	}
	return true
}

// align rounds up to where the next record may begin.
func align(n int) int { return (n + recordAlign - 1) &^ (recordAlign - 1) }
