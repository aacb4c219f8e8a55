package fsys

import (
	"math"
	"unicode/utf8"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
)

// decodeEntry is detcbor.UnmarshalKnown for an entry. Every request decodes
// one, so what this version writes for a file without metadata is read by hand,
// in a quarter of the time: its texts share one allocation, nothing is looked
// up by reflection, and what room e has for extents and a digest is used.
// Anything else is left to the general decoder, which alone says what is
// malformed.
func decodeEntry(b []byte, e *efs.Entry) error {
	r := entryReader{rest: string(b)}
	r.entry(e)
	if !r.odd && r.rest == "" {
		return nil
	}
	*e = efs.Entry{}
	return detcbor.UnmarshalKnown(b, e)
}

// The major types of CBOR (RFC 8949 §3.1) that are read here, and how long the
// two simple values are.
const (
	majorUint  = 0
	majorNint  = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5

	cborFalse = "\xf4"
	cborTrue  = "\xf5"
)

// entryReader reads the deterministic encoding of an entry.
type entryReader struct {
	rest string
	odd  bool // something is not of the usual form; everything read is void
}

func (r *entryReader) entry(e *efs.Entry) {
	extents, digest := e.Extents[:0], e.Digest[:0]
	*e = efs.Entry{}
	r.fields(func(key uint64) {
		switch key {
		case 1:
			r.id(&e.File)
		case 2:
			e.Kind = efs.Kind(r.uint(math.MaxUint8))
		case 3:
			e.Version = r.uint(math.MaxUint64)
		case 4:
			e.ETag = r.text()
		case 5:
			e.Size = r.int()
		case 6:
			e.Digest = append(digest, r.string(majorBytes)...)
		case 7:
			e.DigestKind = efs.DigestKind(r.uint(math.MaxUint8))
		case 8:
			e.Extents = r.extents(extents)
		case 9:
			e.Created = r.int()
		case 10:
			e.Modified = r.int()
		case 11:
			e.Type = r.text()
		case 13:
			e.Owner = r.text()
		case 14:
			e.Mode = uint32(r.uint(math.MaxUint32))
		case 15:
			e.Target = r.text()
		case 16:
			e.Name = r.text()
		default: // metadata, later versions
			r.odd = true
		}
	})
}

// extents reads extents into room, which is empty, or into memory of their own.
func (r *entryReader) extents(room []efs.Extent) []efs.Extent {
	n := r.head(majorArray)
	if n == 0 || n > uint64(len(r.rest)) {
		r.odd = true
		return nil
	}
	if n > uint64(cap(room)) {
		room = make([]efs.Extent, n)
	}
	all := room[:n:n]
	clear(all)
	for i := range all {
		x := &all[i]
		r.fields(func(key uint64) {
			switch key {
			case 1:
				x.Offset = r.int()
			case 2:
				x.Length = r.int()
			case 3:
				x.Sealed = r.int()
			case 4:
				r.id(&x.Content)
			case 5:
				x.Inline = r.bool()
			case 6:
				x.Policy = int(r.uint(math.MaxInt32))
			case 7:
				x.Epoch = int(r.uint(math.MaxInt32))
			default:
				r.odd = true
			}
		})
		if r.odd {
			return nil
		}
	}
	return all
}

// fields reads a map whose keys ascend, and calls value at each value.
func (r *entryReader) fields(value func(key uint64)) {
	last := uint64(0)
	for n := r.head(majorMap); n > 0 && !r.odd; n-- {
		key := r.head(majorUint)
		if key <= last {
			r.odd = true
			return
		}
		last = key
		value(key)
	}
}

// head reads the beginning of an item of a major type: its number or length,
// in its shortest form.
func (r *entryReader) head(major byte) (v uint64) {
	if r.rest == "" || r.rest[0]>>5 != major {
		r.odd = true
		return 0
	}
	info := r.rest[0] & 31
	r.rest = r.rest[1:]
	if info < 24 {
		return uint64(info)
	}
	n := 1 << (info - 24)
	if info > 27 || len(r.rest) < n {
		r.odd = true
		return 0
	}
	for i := range n {
		v = v<<8 | uint64(r.rest[i])
	}
	r.rest = r.rest[n:]
	least := [...]uint64{24, math.MaxUint8 + 1, math.MaxUint16 + 1, math.MaxUint32 + 1}
	r.odd = r.odd || v < least[info-24]
	return v
}

func (r *entryReader) uint(limit uint64) uint64 {
	v := r.head(majorUint)
	r.odd = r.odd || v > limit
	return v
}

func (r *entryReader) int() int64 {
	if r.rest != "" && r.rest[0]>>5 == majorNint {
		v := r.head(majorNint)
		r.odd = r.odd || v > math.MaxInt64
		return -1 - int64(v)
	}
	return int64(r.uint(math.MaxInt64))
}

// string reads a string that is not empty, as empty ones are not written.
func (r *entryReader) string(major byte) string {
	n := r.head(major)
	if r.odd || n == 0 || n > uint64(len(r.rest)) {
		r.odd = true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *entryReader) text() string {
	s := r.string(majorText)
	r.odd = r.odd || !utf8.ValidString(s)
	return s
}

func (r *entryReader) id(id *efs.ID) {
	r.odd = copy(id[:], r.string(majorBytes)) != len(id) || r.odd
}

func (r *entryReader) bool() bool {
	if r.rest == "" {
		r.odd = true
		return false
	}
	v := r.rest[:1]
	r.rest = r.rest[1:]
	r.odd = r.odd || v != cborTrue && v != cborFalse
	return v == cborTrue
}
