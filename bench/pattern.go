package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
)

// What is stored is incompressible, as encrypted or compressed documents are,
// and follows from the object's number and the place in it: each object is a
// window of one endlessly repeated run of random bytes. So bodies cost the
// load generator neither memory nor copying, and an answer that is of another
// object, of another place or plain rubbish is noticed.
const (
	patternPeriod = 2<<20 + 4093 // no multiple of any segment's or block's size
	patternPiece  = 256 << 10    // most that is looked at in one go
)

var pattern = newPattern()

func newPattern() []byte {
	b := make([]byte, patternPeriod+patternPiece)
	rand.Read(b[:patternPeriod])
	copy(b[patternPeriod:], b)
	return b
}

// piece returns n bytes (at most patternPiece) of an object from offset on.
func piece(object int64, offset int64, n int) []byte {
	at := int((object*7919 + offset) % patternPeriod)
	return pattern[at : at+n]
}

// compare tells whether got is what the object holds from offset on.
func compare(object, offset int64, got []byte) error {
	for len(got) > 0 {
		n := min(len(got), patternPiece)
		if !bytes.Equal(got[:n], piece(object, offset, n)) {
			return fmt.Errorf("object %d holds other bytes than were stored at %d", object, offset)
		}
		got, offset = got[n:], offset+int64(n)
	}
	return nil
}
