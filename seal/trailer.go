package seal

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/efs-project/efs/internal/detcbor"
)

// The keys of the trailer record's maps. In the record unknown keys are
// critical unless negative; in the recovery map they are all skipped.
const (
	recSize     = 1
	recSHA256   = 2
	recRecovery = 3

	rcvPath     = 1
	rcvFile     = 2
	rcvVersion  = 3
	rcvExtent   = 4
	rcvExtents  = 5
	rcvSeq      = 6
	rcvCreated  = 7
	rcvModified = 8
	rcvType     = 9
	rcvMeta     = 10
	rcvOwner    = 11
	rcvMode     = 12
)

// record encodes what the trailer tells, but for the padding, whose length the
// suffix has.
func (t *Trailer) record() ([]byte, error) {
	b := make([]byte, 1, 64+t.Recovery.room())
	n := byte(1)
	if t.HasDigest {
		n++
	}
	b = appendUint(appendUint(b, recSize), uint64(t.Size))
	if t.HasDigest {
		b = appendBytes(appendUint(b, recSHA256), t.SHA256[:])
	}
	if fields, err := t.Recovery.append(appendUint(b, recRecovery)); err != nil {
		return nil, err
	} else if fields != nil {
		b = fields
		n++
	}
	b[0] = cborMap<<5 | n
	if len(b) > MaxTrailer {
		return nil, fmt.Errorf("%w: trailer of %d bytes, at most %d are allowed", ErrParams, len(b), MaxTrailer)
	}
	return b, nil
}

// room is more than append needs.
func (r *Recovery) room() int {
	size := 96 + len(r.Path) + len(r.Type) + len(r.Owner)
	for k, v := range r.Meta {
		size += 10 + len(k) + len(v)
	}
	return size
}

// append encodes the recovery map; nil if every field is zero.
func (r *Recovery) append(b []byte) ([]byte, error) {
	if r.Extent < 0 || r.Extents < 0 {
		return nil, fmt.Errorf("%w: negative extent number", ErrParams)
	}
	at := len(b)
	b = append(b, 0) // the head is written last: at most 12 fields fit one byte
	n := byte(0)
	key := func(k uint64) { b, n = appendUint(b, k), n+1 }
	text := func(k uint64, v string) {
		if v != "" {
			key(k)
			b = appendText(b, v)
		}
	}
	number := func(k, v uint64) {
		if v != 0 {
			key(k)
			b = appendUint(b, v)
		}
	}
	signed := func(k uint64, v int64) {
		if v != 0 {
			key(k)
			b = appendInt(b, v)
		}
	}
	text(rcvPath, r.Path)
	if r.File != [16]byte{} {
		key(rcvFile)
		b = appendBytes(b, r.File[:])
	}
	number(rcvVersion, r.Version)
	number(rcvExtent, uint64(r.Extent))
	number(rcvExtents, uint64(r.Extents))
	number(rcvSeq, r.Seq)
	signed(rcvCreated, r.Created)
	signed(rcvModified, r.Modified)
	text(rcvType, r.Type)
	if len(r.Meta) > 0 {
		key(rcvMeta)
		b = appendMeta(b, r.Meta)
	}
	text(rcvOwner, r.Owner)
	number(rcvMode, uint64(r.Mode))
	if n == 0 {
		return nil, nil
	}
	b[at] = cborMap<<5 | n
	return b, r.checkText()
}

// appendMeta encodes metadata in deterministic order: shorter keys first, as
// the length is part of a key's encoding.
func appendMeta(b []byte, m map[string]string) []byte {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	b = detcbor.AppendHead(b, cborMap, uint64(len(m)))
	for _, k := range keys {
		b = appendText(appendText(b, k), m[k])
	}
	return b
}

// checkText refuses what a reader would: text that is not UTF-8.
func (r *Recovery) checkText() error {
	for _, s := range [...]string{r.Path, r.Type, r.Owner} {
		if !validText(s) {
			return fmt.Errorf("%w: text of the recovery record is not UTF-8", ErrParams)
		}
	}
	for k, v := range r.Meta {
		if !validText(k) || !validText(v) {
			return fmt.Errorf("%w: metadata is not UTF-8", ErrParams)
		}
	}
	return nil
}

// parseRecord reads what record encoded.
func parseRecord(b []byte) (*Trailer, error) {
	t := &Trailer{}
	r := cborReader{b: b}
	hasSize := false
	r.fields("trailer", false, func(key int64) bool {
		switch key {
		case recSize:
			t.Size, hasSize = int64(r.uint(math.MaxInt64)), true
		case recSHA256:
			r.fixed(t.SHA256[:])
			t.HasDigest = true
		case recRecovery:
			t.Recovery.parse(&r)
		default:
			return false
		}
		return true
	})
	if r.err == nil && !hasSize {
		r.fail("the trailer lacks the size")
	}
	return t, r.done()
}

func (v *Recovery) parse(r *cborReader) {
	r.fields("recovery record", true, func(key int64) bool {
		switch key {
		case rcvPath:
			v.Path = r.text(MaxTrailer)
		case rcvFile:
			r.fixed(v.File[:])
		case rcvVersion:
			v.Version = r.uint(math.MaxUint64)
		case rcvExtent:
			v.Extent = int(r.uint(math.MaxInt32))
		case rcvExtents:
			v.Extents = int(r.uint(math.MaxInt32))
		case rcvSeq:
			v.Seq = r.uint(math.MaxUint64)
		case rcvCreated:
			v.Created = r.int()
		case rcvModified:
			v.Modified = r.int()
		case rcvType:
			v.Type = r.text(MaxTrailer)
		case rcvMeta:
			v.Meta = r.texts(MaxTrailer)
		case rcvOwner:
			v.Owner = r.text(MaxTrailer)
		case rcvMode:
			v.Mode = uint32(r.uint(math.MaxUint32))
		default:
			return false
		}
		return true
	})
}
