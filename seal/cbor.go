package seal

import (
	"bytes"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/efs-project/efs/internal/detcbor"
)

// The format uses a small part of CBOR (RFC 8949) in its deterministic form
// (§4.2.1): integers, byte and text strings, arrays and maps, each in its
// shortest encoding and of definite length, map keys ascending in bytewise
// order of their encoding. A codec for just that part cannot accept what the
// format forbids, works in one pass and allocates nothing for lengths that the
// input only claims.

// The major types.
const (
	cborUint  = 0
	cborNint  = 1
	cborBytes = 2
	cborText  = 3
	cborArray = 4
	cborMap   = 5
)

const cborDepth = 8 // nesting that skip follows

func appendUint(b []byte, v uint64) []byte { return detcbor.AppendHead(b, cborUint, v) }

func appendInt(b []byte, v int64) []byte {
	if v < 0 {
		return detcbor.AppendHead(b, cborNint, uint64(-1-v))
	}
	return appendUint(b, uint64(v))
}

func appendBytes(b, v []byte) []byte {
	return append(detcbor.AppendHead(b, cborBytes, uint64(len(v))), v...)
}

func appendText(b []byte, v string) []byte {
	return append(detcbor.AppendHead(b, cborText, uint64(len(v))), v...)
}

// cborReader walks over one item. The first error sticks; every method then
// returns zero values.
type cborReader struct {
	b   []byte
	err error
}

func (r *cborReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
	}
	r.b = nil
}

// head reads a major type and its argument, and refuses encodings that are not
// the shortest.
func (r *cborReader) head() (major byte, v uint64) {
	if len(r.b) == 0 {
		r.fail("CBOR ends early")
		return 0, 0
	}
	major, info := r.b[0]>>5, r.b[0]&31
	r.b = r.b[1:]
	if info < 24 {
		return major, uint64(info)
	}
	if info > 27 {
		r.fail("CBOR of indefinite length or reserved form")
		return 0, 0
	}
	n := 1 << (info - 24)
	if len(r.b) < n {
		r.fail("CBOR ends early")
		return 0, 0
	}
	for _, c := range r.b[:n] {
		v = v<<8 | uint64(c)
	}
	r.b = r.b[n:]
	least := [...]uint64{24, math.MaxUint8 + 1, math.MaxUint16 + 1, math.MaxUint32 + 1}
	if v < least[info-24] {
		r.fail("CBOR not in its shortest form")
		return 0, 0
	}
	return major, v
}

func (r *cborReader) expect(major byte, what string) uint64 {
	m, v := r.head()
	if r.err == nil && m != major {
		r.fail("CBOR holds another type where %s is expected", what)
		return 0
	}
	return v
}

// uint reads an unsigned integer up to limit.
func (r *cborReader) uint(limit uint64) uint64 {
	v := r.expect(cborUint, "an unsigned integer")
	if v > limit {
		r.fail("number %d above %d", v, limit)
		return 0
	}
	return v
}

// int reads an integer that fits 64 bits.
func (r *cborReader) int() int64 {
	m, v := r.head()
	switch {
	case r.err != nil:
		return 0
	case m > cborNint || v > math.MaxInt64:
		r.fail("CBOR holds no 64-bit integer")
		return 0
	case m == cborNint:
		return -1 - int64(v)
	}
	return int64(v)
}

// raw reads a string of bytes or text without copying it.
func (r *cborReader) raw(major byte, limit int, what string) []byte {
	v := r.expect(major, what)
	if v > uint64(limit) || v > uint64(len(r.b)) {
		r.fail("%s longer than allowed or than the input", what)
		return nil
	}
	s := r.b[:v:v]
	r.b = r.b[v:]
	return s
}

func (r *cborReader) bytes(limit int) []byte { return r.raw(cborBytes, limit, "a byte string") }

// fixed reads a byte string of exactly len(dst) bytes into dst.
func (r *cborReader) fixed(dst []byte) {
	if s := r.bytes(len(dst)); r.err == nil && len(s) != len(dst) {
		r.fail("byte string of %d bytes where %d are expected", len(s), len(dst))
	} else {
		copy(dst, s)
	}
}

func (r *cborReader) text(limit int) string {
	s := r.raw(cborText, limit, "a text string")
	if !utf8.Valid(s) {
		r.fail("text is not UTF-8")
		return ""
	}
	return string(s)
}

func (r *cborReader) array(limit int) int {
	v := r.expect(cborArray, "an array")
	if v > uint64(limit) || v > uint64(len(r.b)) {
		r.fail("array of %d items, more than allowed or than the input holds", v)
		return 0
	}
	return int(v)
}

// pairs reads the head of a map.
func (r *cborReader) pairs() uint64 {
	n := r.expect(cborMap, "a map")
	if n > uint64(len(r.b)) {
		r.fail("map of %d pairs, more than the input holds", n)
		return 0
	}
	return n
}

// fields reads a map with integer keys and calls fn at each value. fn reads
// the value and returns true, or leaves it and returns false: then an unknown
// field is skipped if its key is negative or all is optional; else it is
// critical, and the file is unsupported.
func (r *cborReader) fields(where string, optional bool, fn func(key int64) bool) {
	n := r.pairs()
	var prev []byte
	for ; n > 0 && r.err == nil; n-- {
		before := r.b
		key := r.int()
		if r.err != nil {
			return
		}
		if enc := before[:len(before)-len(r.b)]; bytes.Compare(prev, enc) >= 0 {
			r.fail("map keys out of order or repeated in %s", where)
			return
		} else {
			prev = enc
		}
		if fn(key) {
			continue
		}
		if key >= 0 && !optional && r.err == nil {
			r.err = fmt.Errorf("%w: unknown critical field %d in %s", ErrUnsupported, key, where)
			r.b = nil
			return
		}
		r.skip(cborDepth)
	}
}

// texts reads a map of text to text.
func (r *cborReader) texts(limit int) map[string]string {
	n := r.pairs()
	var m map[string]string
	var prev []byte
	for ; n > 0 && r.err == nil; n-- {
		before := r.b
		key := r.text(limit)
		enc := before[:len(before)-len(r.b)]
		if r.err == nil && bytes.Compare(prev, enc) >= 0 {
			r.fail("map keys out of order or repeated")
		}
		prev = enc
		val := r.text(limit)
		if r.err != nil {
			return nil
		}
		if m == nil {
			m = make(map[string]string)
		}
		m[key] = val
	}
	return m
}

// skip passes over one well-formed item of the allowed kinds.
func (r *cborReader) skip(depth int) {
	if depth == 0 {
		r.fail("CBOR nested too deeply")
		return
	}
	before := r.b
	major, v := r.head()
	if (major == cborArray || major == cborMap) && v > uint64(len(r.b)) {
		r.fail("%d items, more than the input holds", v)
		return
	}
	switch major {
	case cborUint, cborNint:
	case cborBytes:
		r.b = before
		r.raw(cborBytes, MaxHeader, "a byte string")
	case cborText:
		r.b = before
		r.text(MaxHeader)
	case cborArray:
		for ; v > 0 && r.err == nil; v-- {
			r.skip(depth - 1)
		}
	case cborMap:
		var prev []byte
		for ; v > 0 && r.err == nil; v-- {
			start := r.b
			r.skip(depth - 1)
			enc := start[:len(start)-len(r.b)]
			if r.err == nil && bytes.Compare(prev, enc) >= 0 {
				r.fail("map keys out of order or repeated")
			}
			prev = enc
			r.skip(depth - 1)
		}
	default:
		r.fail("CBOR of a kind that the format does not use")
	}
}

// done refuses what follows the item, and returns the first error.
func (r *cborReader) done() error {
	if r.err == nil && len(r.b) != 0 {
		r.fail("%d bytes after the CBOR item", len(r.b))
	}
	return r.err
}

func validText(s string) bool { return utf8.ValidString(s) }
