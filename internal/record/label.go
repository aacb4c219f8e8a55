package record

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// labelRun seals labels under one key that XAES-256-GCM derives: their nonces
// have the same random first half, and the second halves are a random number
// with a counter in it (exclusive or). There is a label for each line of an audit log, and
// deriving a key costs several times as much as sealing one. What opens labels
// knows nothing of it.
type labelRun struct {
	aead  cipher.AEAD
	nonce [nonceSize]byte // of number 0
	n     atomic.Uint64   // labels sealed
}

// labelRunLength is how many labels are sealed under one derived key, far from
// what AES-GCM allows.
const labelRunLength = 1 << 24

// labeler makes runs of labels. It is safe for concurrent use.
type labeler struct {
	x   *xaes
	run atomic.Pointer[labelRun]
}

// next returns the run to seal a label in, and the label's number in it.
func (l *labeler) next() (*labelRun, uint64, error) {
	for {
		r := l.run.Load()
		if r != nil {
			if n := r.n.Add(1); n < labelRunLength {
				return r, n, nil
			}
		}
		fresh := &labelRun{}
		rand.Read(fresh.nonce[:]) // never fails: crypto/rand ends the program instead
		var err error
		if fresh.aead, err = l.x.aead(fresh.nonce[:]); err != nil {
			return nil, 0, err
		}
		l.run.CompareAndSwap(r, fresh)
	}
}

// SealLabel seals a name that is kept outside the index, such as in an audit
// log. Labels that one process sealed can be told to be so.
func (s *Sealer) SealLabel(plaintext []byte) ([]byte, error) {
	r, n, err := s.labels.next()
	if err != nil {
		return nil, fmt.Errorf("sealing a label: %w", err)
	}
	size := paddedSize(len(plaintext))
	out := make([]byte, 1+nonceSize+size, Overhead+size)
	nonce, body := out[1:1+nonceSize], out[1+nonceSize:]
	out[0] = Version
	copy(nonce, r.nonce[:])
	var count [8]byte
	binary.BigEndian.PutUint64(count[:], n)
	subtle.XORBytes(nonce[nonceSize-len(count):], nonce[nonceSize-len(count):], count[:])
	copy(body, plaintext)
	body[len(plaintext)] = padMark
	buf := adBufs.Get().(*adBuf)
	defer adBufs.Put(buf)
	return out[:1+nonceSize+len(r.aead.Seal(body[:0], nonce[12:], body, s.ad(buf, forLabel, nil)))], nil
}
