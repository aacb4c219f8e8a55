package seal

import (
	"errors"
	"fmt"
	"io"
)

// batch is a run of segments that a Reader has read. All but the last segment
// of a file are opened as data, which nearly all are, by whichever goroutine
// has the time; the Reader goes on, in order, from the first that is not.
type batch struct {
	task
	sealed *[]byte // a run and one byte, to see the end coming
	have   int     // bytes in sealed
	whole  int     // segments that are known not to be the last
	first  int64   // index of the first one
	ended  bool    // what comes after them is the last segment
	err    error   // of reading: there are no segments

	plain   *[]byte // of them and, at the end, of the last segment
	opened  int     // segments that are open, from the first on
	scratch *[]byte // between the stages; nil with one
	nonce   nonce
	running bool // beside its owner
}

func (r *Reader) newBatch() *batch {
	full := int(r.lay.sealed())
	b := &batch{sealed: getBuffer(max(1, runBytes/int(r.lay.segment))*full + 1), plain: getBuffer(0)}
	if len(r.cipher.aeads) > 1 {
		b.scratch = getBuffer(full)
	}
	b.task = newTask(func() { r.openData(b) })
	return b
}

// drop wipes the plaintext and gives the buffers back.
func (b *batch) drop() {
	*b.plain = (*b.plain)[:cap(*b.plain)]
	dropBuffer(b.plain)
	putBuffer(b.sealed)
	if b.scratch != nil {
		putBuffer(b.scratch)
	}
}

// settle waits for the goroutines.
func (r *Reader) settle() {
	r.eager = false
	for _, b := range r.ahead[:r.count] {
		b.settle()
	}
}

func (b *batch) settle() {
	if b.running {
		b.wait()
		b.running = false
	}
}

// take returns the next batch, its data opened.
func (r *Reader) take() *batch {
	if r.count == 0 {
		b := r.fill()
		if !r.eager || r.ended {
			r.openData(b)
			return b
		}
		r.ahead[0], r.count = b, 1
		r.begin(b)
	}
	for r.eager && !r.ended && r.count < len(r.ahead) {
		b := r.fill()
		r.ahead[r.count] = b
		r.count++
		r.begin(b)
	}
	b := r.ahead[0]
	r.count = copy(r.ahead[:], r.ahead[1:r.count])
	b.settle()
	return b
}

func (r *Reader) begin(b *batch) {
	b.running = true
	b.start()
}

// fill reads the next batch: until it is full or src ends.
func (r *Reader) fill() *batch {
	var b *batch
	if n := len(r.free); n > 0 {
		b, r.free = r.free[n-1], r.free[:n-1]
	} else {
		b = r.newBatch()
	}
	full := int(r.lay.sealed())
	first, have := int64(0), 0
	if l := r.last; l != nil {
		first, have = l.first+int64(l.whole), copy(*b.sealed, (*l.sealed)[l.whole*full:l.have])
	}
	n, err := io.ReadFull(r.src, (*b.sealed)[have:])
	b.first, b.have, b.ended, b.err = first, have+n, false, nil
	r.read += int64(n)
	r.last = b
	switch {
	case err == nil:
		b.whole = b.have / full // leaves one byte: what follows must be seen first
		if r.open.Size >= 0 && r.read > r.open.Size {
			b.err = wrongSize(r.read, r.open.Size)
		}
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		b.ended = true
		b.whole = max(0, b.have-1) / full // the last segment is apart
	default:
		b.err = fmt.Errorf("reading sealed file: %w", err)
	}
	if b.err != nil {
		b.whole = 0
	}
	r.ended = b.ended || b.err != nil
	if need := (b.whole + 1) * int(r.lay.segment); cap(*b.plain) < need {
		dropBuffer(b.plain)
		b.plain = getBuffer(need)
	}
	return b
}

// openData opens the segments of b as data, as far as they are. It reads
// nothing of r that changes, and has b to itself.
func (r *Reader) openData(b *batch) {
	full, size := int(r.lay.sealed()), int(r.lay.segment)
	for b.opened = 0; b.opened < b.whole && b.first+int64(b.opened) < MaxSegments; b.opened++ {
		i := b.opened
		dst := (*b.plain)[:cap(*b.plain)][i*size : i*size : (i+1)*size]
		if _, err := r.cipher.open(dst, (*b.sealed)[i*full:(i+1)*full], b.between(full), &b.nonce, kindData, b.first+int64(i), false); err != nil {
			return
		}
	}
}

// between is the scratch for what lies between the stages.
func (b *batch) between(n int) []byte {
	if b.scratch == nil {
		return nil
	}
	return (*b.scratch)[:n]
}
