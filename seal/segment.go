package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"sync"

	zero "github.com/efs-project/efs/internal/wipe"
)

// kind is what a segment holds. It stands in the nonce, so that no segment can
// be taken for one of another kind.
type kind byte

// The kinds, in the order in which they follow one another.
const (
	kindData    kind = 1 // segment size bytes of the data stream
	kindTable   kind = 2 // segment size bytes of the frame table
	kindPadding kind = 3 // segment size bytes of nothing
	kindTrailer kind = 4 // the end block: remainders, padding and trailer
)

// nonce is the scratch of one goroutine that seals or opens: passed to an
// interface it would else be allocated for every segment.
type nonce [12]byte

// set fills in kind (1 byte), 2 zero bytes, the segment's index (8 bytes, big
// endian) and the last flag (1 byte): the STREAM construction (Hoang,
// Reyhanitabar, Rogaway, Vizár, CRYPTO 2015) with the kind added.
func (n *nonce) set(k kind, index int64, last bool) []byte {
	n[0], n[1], n[2] = byte(k), 0, 0
	binary.BigEndian.PutUint64(n[3:], uint64(index))
	n[11] = 0
	if last {
		n[11] = 1
	}
	return n[:]
}

// segmentCipher seals and opens segments with every stage. It is safe for
// concurrent use.
type segmentCipher struct {
	aeads []cipher.AEAD
	few   [2]cipher.AEAD // what aeads lies in, with so few stages as is usual
	aad   [32]byte       // file system ‖ content
}

func newSegmentCipher(h *Header) *segmentCipher {
	c := &segmentCipher{}
	if n := len(h.Stages); n <= len(c.few) {
		c.aeads = c.few[:n]
	} else {
		c.aeads = make([]cipher.AEAD, n)
	}
	copy(c.aad[:16], h.FS[:])
	copy(c.aad[16:], h.Content[:])
	return c
}

// wipe overwrites the keys. The cipher must not be used any more.
func (c *segmentCipher) wipe() {
	for _, a := range c.aeads {
		zero.Object(a)
	}
}

// overhead is how many bytes a segment grows by.
func (c *segmentCipher) overhead() int { return tagLen * len(c.aeads) }

// seal seals src into dst, which may be src itself, and returns the sealed
// bytes. dst must have room for the overhead.
func (c *segmentCipher) seal(dst, src []byte, n *nonce, k kind, index int64, last bool) []byte {
	nc := n.set(k, index, last)
	out := c.aeads[0].Seal(dst[:0], nc, src, c.aad[:])
	for _, a := range c.aeads[1:] {
		out = a.Seal(out[:0], nc, out, c.aad[:])
	}
	return out
}

// open opens src into dst, whose capacity must hold the plaintext. With several
// stages what lies between them goes to scratch, which must be as long as src.
// dst and scratch may be src itself; where neither is, a failure leaves src as
// it was, so that another kind can be tried. On failure dst holds no plaintext.
func (c *segmentCipher) open(dst, src, scratch []byte, n *nonce, k kind, index int64, last bool) ([]byte, error) {
	if len(src) < c.overhead() {
		return nil, fmt.Errorf("%w: segment %d is too short", ErrTampered, index)
	}
	nc := n.set(k, index, last)
	for i := len(c.aeads) - 1; i >= 0; i-- {
		to := scratch
		if i == 0 {
			to = dst
		}
		out, err := c.aeads[i].Open(to[:0], nc, src, c.aad[:])
		if err != nil {
			return nil, fmt.Errorf("%w: segment %d does not authenticate", ErrTampered, index)
		}
		src = out
	}
	return src, nil
}

// openLast opens the last segment of a file. One that is whole but was not
// sealed as the last is the sign of a file cut off after it; kinds before from
// cannot follow and are not tried.
func (c *segmentCipher) openLast(dst, src, scratch []byte, n *nonce, index int64, from kind, full int64) ([]byte, error) {
	out, err := c.open(dst, src, scratch, n, kindTrailer, index, true)
	if err == nil {
		return out, nil
	}
	if int64(len(src)) != full {
		return nil, fmt.Errorf("%w, or cut off: its last segment does not authenticate", ErrTampered)
	}
	for k := from; k <= kindTrailer; k++ {
		if out, other := c.open(dst, src, scratch, n, k, index, false); other == nil {
			wipe(out)
			return nil, fmt.Errorf("%w after segment %d", ErrTruncated, index)
		}
	}
	return nil, err
}

var nonces = sync.Pool{New: func() any { return new(nonce) }}
