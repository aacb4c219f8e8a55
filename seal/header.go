package seal

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/efs-project/efs/internal/detcbor"
)

// magic begins every sealed file; its last byte is the version of the format.
const magic = "EFSseal\x01"

const (
	preambleLen = len(magic) + 4 // magic, length of the header
	macLen      = 32
)

// The keys of the header's maps. A reader refuses keys it does not know, but
// for negative ones: those it skips.
const (
	hdrFS          = 1
	hdrContent     = 2
	hdrSegmentSize = 3
	hdrCompression = 4
	hdrPadding     = 5
	hdrStages      = 6
	hdrFrameSize   = 7

	stageSuite = 1
	stageSlots = 2

	slotType   = 1
	slotKey    = 2
	slotSalt   = 3
	slotParams = 4
	slotBody   = 5
)

// Bounds of a slot's fields.
const (
	maxSlotKey    = 64
	maxSlotSalt   = 64
	maxSlotParams = 8
	maxSlotBody   = 4096
)

// Header is the clear beginning of a sealed file. From ReadHeader it is what
// the file claims, not authenticated; from a reader it is authenticated.
type Header struct {
	FS, Content [16]byte
	SegmentSize int
	Compression Compression
	FrameSize   int // 0 without compression
	Padding     Padding
	Stages      []HeaderStage

	raw []byte // magic, length and CBOR, as in the file

	// What Stages and their slots lie in, with so few as is usual.
	fewStages [2]HeaderStage
	fewSlots  [2]Slot
}

// stages makes n empty stages.
func (h *Header) stages(n int) []HeaderStage {
	if n <= len(h.fewStages) {
		return h.fewStages[:n:n]
	}
	return make([]HeaderStage, n)
}

// slots makes n empty slots, after those that have been made before.
func (h *Header) slots(before, n int) []Slot {
	if end := before + n; end <= len(h.fewSlots) {
		return h.fewSlots[before:end:end]
	}
	return make([]Slot, n)
}

// HeaderStage is a stage in the header.
type HeaderStage struct {
	Suite Suite
	Slots []Slot
}

// Size returns the bytes before the first segment.
func (h *Header) Size() int { return len(h.raw) + macLen }

// ReadHeader reads the clear header at the start of a sealed file, for tools
// that show what a file is. Nothing of it is authenticated. Errors: ErrFormat,
// ErrTruncated, ErrUnsupported.
func ReadHeader(r io.Reader) (*Header, error) {
	var pre [preambleLen]byte
	n, err := io.ReadFull(r, pre[:])
	if err != nil {
		return nil, shortHeader(pre[:n], err)
	}
	hlen, err := parsePreamble(pre[:])
	if err != nil {
		return nil, err
	}
	raw := make([]byte, preambleLen+hlen)
	copy(raw, pre[:])
	if n, err := io.ReadFull(r, raw[preambleLen:]); err != nil {
		return nil, shortHeader(raw[:preambleLen+n], err)
	}
	return parseHeader(raw)
}

// shortHeader explains a header that could not be read whole: what begins like
// a sealed file is cut off, anything else is none.
func shortHeader(got []byte, err error) error {
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return fmt.Errorf("reading header: %w", err)
	}
	m := min(len(got), len(magic))
	if string(got[:m]) != magic[:m] {
		return fmt.Errorf("%w: it does not begin with the magic number", ErrFormat)
	}
	return fmt.Errorf("%w: it ends within the header", ErrTruncated)
}

// parsePreamble checks magic, version and length, and returns the length of
// the CBOR.
func parsePreamble(b []byte) (int, error) {
	if len(b) < preambleLen {
		return 0, shortHeader(b, io.EOF)
	}
	name := len(magic) - 1
	if string(b[:name]) != magic[:name] {
		return 0, fmt.Errorf("%w: it does not begin with the magic number", ErrFormat)
	}
	if b[name] != magic[name] {
		return 0, fmt.Errorf("%w: version %d of the format, this reads version %d", ErrUnsupported, b[name], magic[name])
	}
	hlen := binary.BigEndian.Uint32(b[len(magic):])
	if hlen == 0 || hlen > MaxHeader {
		return 0, fmt.Errorf("%w: header of %d bytes, allowed are 1 to %d", ErrFormat, hlen, MaxHeader)
	}
	return int(hlen), nil
}

// parseHeader parses magic, length and CBOR, and checks every bound. The
// header keeps raw.
func parseHeader(raw []byte) (*Header, error) {
	h := &Header{raw: raw}
	r := cborReader{b: raw[preambleLen:]}
	var seen, slots int
	r.fields("header", false, func(key int64) bool {
		if key >= hdrFS && key <= hdrFrameSize {
			seen |= 1 << key
		}
		switch key {
		case hdrFS:
			r.fixed(h.FS[:])
		case hdrContent:
			r.fixed(h.Content[:])
		case hdrSegmentSize:
			h.SegmentSize = int(r.uint(1 << 31))
		case hdrCompression:
			h.Compression = Compression(r.uint(255))
		case hdrPadding:
			h.Padding = Padding(r.uint(255))
		case hdrStages:
			n := r.array(MaxStages)
			h.Stages = h.stages(n)
			for i := range h.Stages {
				slots += h.parseStage(&r, &h.Stages[i], slots)
			}
		case hdrFrameSize:
			h.FrameSize = int(r.uint(1 << 31))
		default:
			return false
		}
		return true
	})
	if err := r.done(); err != nil {
		return nil, err
	}
	required := 1<<hdrFS | 1<<hdrContent | 1<<hdrSegmentSize | 1<<hdrCompression | 1<<hdrPadding | 1<<hdrStages
	if seen&required != required {
		return nil, fmt.Errorf("%w: the header lacks a required field", ErrFormat)
	}
	return h, h.check(seen&(1<<hdrFrameSize) != 0)
}

// parseStage reads a stage after the given number of slots, and returns how
// many it has.
func (h *Header) parseStage(r *cborReader, st *HeaderStage, before int) (slots int) {
	seen := 0
	r.fields("stage", false, func(key int64) bool {
		switch key {
		case stageSuite:
			st.Suite = Suite(r.uint(255))
		case stageSlots:
			slots = r.array(MaxSlots - before)
			st.Slots = h.slots(before, slots)
			for i := range st.Slots {
				parseSlot(r, &st.Slots[i])
			}
		default:
			return false
		}
		seen |= 1 << key
		return true
	})
	if r.err == nil && seen != 1<<stageSuite|1<<stageSlots {
		r.fail("a stage lacks its suite or its slots")
	}
	return slots
}

// parseSlot reads a slot. Its type comes first, since keys ascend; the fields
// of a type that this package does not know are skipped, so that a file with a
// newer kind of slot still opens through an older one.
func parseSlot(r *cborReader, s *Slot) {
	r.fields("slot", false, func(key int64) bool {
		if key != slotType && s.Type > SlotHPKE && s.Type < 128 {
			r.skip(cborDepth)
			return true
		}
		switch key {
		case slotType:
			s.Type = SlotType(r.uint(255))
		case slotKey:
			s.Key = r.bytes(maxSlotKey)
		case slotSalt:
			s.Salt = r.bytes(maxSlotSalt)
		case slotParams:
			s.Params = make([]uint64, r.array(maxSlotParams))
			for i := range s.Params {
				s.Params[i] = r.uint(1<<64 - 1)
			}
		case slotBody:
			s.Body = r.bytes(maxSlotBody)
		default:
			return false
		}
		return true
	})
	if r.err == nil && s.Type == 0 {
		r.fail("a slot has no type")
	}
}

// check judges values, in the order of their keys: ErrUnsupported for what a
// newer version may define, ErrFormat for what can never be right.
func (h *Header) check(hasFrameSize bool) error {
	if !sizeOK(h.SegmentSize, MinSegmentSize, MaxSegmentSize) {
		return fmt.Errorf("%w: segment size %d", ErrFormat, h.SegmentSize)
	}
	if h.Compression > CompressZstd {
		return fmt.Errorf("%w: compression %d", ErrUnsupported, h.Compression)
	}
	if h.Padding > PadPadme {
		return fmt.Errorf("%w: padding %d", ErrUnsupported, h.Padding)
	}
	if len(h.Stages) == 0 {
		return fmt.Errorf("%w: no stage", ErrFormat)
	}
	for i := range h.Stages {
		if err := h.Stages[i].check(); err != nil {
			return err
		}
	}
	if hasFrameSize != (h.Compression != CompressNone) {
		return fmt.Errorf("%w: a frame size goes with compression, and only with it", ErrFormat)
	}
	if hasFrameSize && !sizeOK(h.FrameSize, MinFrameSize, MaxFrameSize) {
		return fmt.Errorf("%w: frame size %d", ErrFormat, h.FrameSize)
	}
	return nil
}

func (st *HeaderStage) check() error {
	if st.Suite != AES256GCM && st.Suite != ChaCha20Poly1305 {
		return fmt.Errorf("%w: %v", ErrUnsupported, st.Suite)
	}
	if len(st.Slots) == 0 {
		return fmt.Errorf("%w: a stage without slots", ErrFormat)
	}
	for i := range st.Slots {
		s := &st.Slots[i]
		if s.Type == SlotPassphrase && len(st.Slots) > 1 {
			return fmt.Errorf("%w: a passphrase must be alone in its stage", ErrFormat)
		}
		if len(s.Key) > maxSlotKey || len(s.Salt) > maxSlotSalt || len(s.Params) > maxSlotParams || len(s.Body) > maxSlotBody {
			return fmt.Errorf("%w: a slot's field is too long", ErrFormat)
		}
	}
	return nil
}

func sizeOK(n, least, most int) bool { return n >= least && n <= most && n&(n-1) == 0 }

// encode makes h.raw from the other fields.
func (h *Header) encode() error {
	b := make([]byte, preambleLen, preambleLen+256)
	copy(b, magic)
	n := uint64(6)
	if h.Compression != CompressNone {
		n++
	}
	b = detcbor.AppendHead(b, cborMap, n)
	b = appendBytes(appendUint(b, hdrFS), h.FS[:])
	b = appendBytes(appendUint(b, hdrContent), h.Content[:])
	b = appendUint(appendUint(b, hdrSegmentSize), uint64(h.SegmentSize))
	b = appendUint(appendUint(b, hdrCompression), uint64(h.Compression))
	b = appendUint(appendUint(b, hdrPadding), uint64(h.Padding))
	b = detcbor.AppendHead(appendUint(b, hdrStages), cborArray, uint64(len(h.Stages)))
	for _, st := range h.Stages {
		b = detcbor.AppendHead(b, cborMap, 2)
		b = appendUint(appendUint(b, stageSuite), uint64(st.Suite))
		b = detcbor.AppendHead(appendUint(b, stageSlots), cborArray, uint64(len(st.Slots)))
		for i := range st.Slots {
			b = st.Slots[i].append(b)
		}
	}
	if h.Compression != CompressNone {
		b = appendUint(appendUint(b, hdrFrameSize), uint64(h.FrameSize))
	}
	size := len(b) - preambleLen
	if size > MaxHeader {
		return fmt.Errorf("%w: header of %d bytes, at most %d are allowed", ErrParams, size, MaxHeader)
	}
	binary.BigEndian.PutUint32(b[len(magic):], uint32(size))
	h.raw = b
	return nil
}

// append encodes a slot; empty fields are left out.
func (s *Slot) append(b []byte) []byte {
	n := uint64(1)
	for _, has := range [...]bool{len(s.Key) > 0, len(s.Salt) > 0, len(s.Params) > 0, len(s.Body) > 0} {
		if has {
			n++
		}
	}
	b = detcbor.AppendHead(b, cborMap, n)
	b = appendUint(appendUint(b, slotType), uint64(s.Type))
	if len(s.Key) > 0 {
		b = appendBytes(appendUint(b, slotKey), s.Key)
	}
	if len(s.Salt) > 0 {
		b = appendBytes(appendUint(b, slotSalt), s.Salt)
	}
	if len(s.Params) > 0 {
		b = detcbor.AppendHead(appendUint(b, slotParams), cborArray, uint64(len(s.Params)))
		for _, v := range s.Params {
			b = appendUint(b, v)
		}
	}
	if len(s.Body) > 0 {
		b = appendBytes(appendUint(b, slotBody), s.Body)
	}
	return b
}
