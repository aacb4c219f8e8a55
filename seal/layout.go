package seal

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// suffixLen is the fixed end of the payload: three lengths of 8 bytes and one
// of 4.
const suffixLen = 28

// layout is how the parts of a payload lie in segments. The payload is
//
//	data stream ‖ frame table ‖ padding ‖ trailer record ‖ suffix
//
// It is cut so that every segment but the last holds exactly segment bytes:
// whole segments of data, of table and of padding, each of its kind; then the
// end block, which holds the three remainders, the record and the suffix, as
// segments of kind trailer, the very last of them marked. So the physical
// length tells the number of segments and the sum of the parts, and nothing of
// where one ends and the next begins.
type layout struct {
	segment int64 // plaintext bytes per segment
	tags    int64 // bytes that sealing adds to each

	data, table, padding, record int64 // lengths in bytes
}

// suffix is data ‖ table ‖ padding, 8 bytes each, and record, 4 bytes, all big
// endian.
func (l *layout) appendSuffix(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(l.data))
	b = binary.BigEndian.AppendUint64(b, uint64(l.table))
	b = binary.BigEndian.AppendUint64(b, uint64(l.padding))
	return binary.BigEndian.AppendUint32(b, uint32(l.record))
}

// readSuffix takes the lengths from the last suffixLen bytes of the payload,
// and checks that they fit the number of segments and the last one's length.
func (l *layout) readSuffix(b []byte, total int64) error {
	b = b[len(b)-suffixLen:]
	lengths := [3]uint64{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}
	record := int64(binary.BigEndian.Uint32(b[24:]))
	for _, v := range lengths {
		if v > uint64(total) {
			return fmt.Errorf("%w: the trailer's lengths do not fit the file", ErrFormat)
		}
	}
	l.data, l.table, l.padding, l.record = int64(lengths[0]), int64(lengths[1]), int64(lengths[2]), record
	if record == 0 || record > MaxTrailer || l.payload() != total {
		return fmt.Errorf("%w: the trailer's lengths do not fit the file", ErrFormat)
	}
	return nil
}

func (l *layout) payload() int64 {
	return l.data + l.table + l.padding + l.record + suffixLen
}

// pad chooses the padding.
func (l *layout) pad(p Padding) {
	l.padding = 0
	if p == PadPadme {
		n := l.payload()
		l.padding = padme(n) - n
	}
}

// The numbers of whole segments of each kind.
func (l *layout) dataSegments() int64    { return l.data / l.segment }
func (l *layout) tableSegments() int64   { return l.table / l.segment }
func (l *layout) paddingSegments() int64 { return l.padding / l.segment }

// whole is the number of segments before the end block.
func (l *layout) whole() int64 {
	return l.dataSegments() + l.tableSegments() + l.paddingSegments()
}

// kindOf returns the kind of the segment at index.
func (l *layout) kindOf(index int64) kind {
	d := l.dataSegments()
	t := d + l.tableSegments()
	switch {
	case index < d:
		return kindData
	case index < t:
		return kindTable
	case index < t+l.paddingSegments():
		return kindPadding
	}
	return kindTrailer
}

// endBlock is the length of the end block.
func (l *layout) endBlock() int64 { return l.payload() - l.whole()*l.segment }

// sealed is the length of a sealed segment that is not the last.
func (l *layout) sealed() int64 { return l.segment + l.tags }

// segments is how many segments n bytes of payload take: at least one.
func (l *layout) segments(n int64) int64 { return max(1, (n+l.segment-1)/l.segment) }

// physical is the length of all sealed segments together.
func (l *layout) physical() int64 {
	n := l.payload()
	return n + l.segments(n)*l.tags
}

// split finds, from the physical length of the segments, their number and the
// sealed length of the last.
func (l *layout) split(physical int64) (n, last int64, err error) {
	n = (physical + l.sealed() - 1) / l.sealed()
	last = physical - (n-1)*l.sealed()
	if n < 1 || last <= l.tags {
		return 0, 0, fmt.Errorf("%w: no whole number of segments", ErrTruncated)
	}
	if n > MaxSegments {
		return 0, 0, fmt.Errorf("%w: more than %d segments", ErrFormat, int64(MaxSegments))
	}
	return n, last, nil
}

// maxEndBlock bounds the end block of any file with these segments.
func (l *layout) maxEndBlock() int64 { return 3*l.segment + MaxTrailer + suffixLen }

// padme rounds a length up so that its mantissa has no more bits than its
// exponent (Padmé: Nikitin, Barman, Lueks, Underwood, Hubaux, Ford, "Reducing
// Metadata Leakage from Encrypted Files and Communication with PURBs", PoPETs
// 2019, §4). The result is at most 12 % larger.
func padme(n int64) int64 {
	if n < 2 {
		return n
	}
	e := bits.Len64(uint64(n)) - 1 // ⌊log2 n⌋
	s := bits.Len(uint(e))         // bits to write e
	if s >= e {
		return n
	}
	mask := int64(1)<<(e-s) - 1
	if n > math.MaxInt64-mask {
		return n
	}
	return (n + mask) &^ mask
}
