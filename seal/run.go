package seal

import "unsafe"

// runBytes is how much payload a Reader asks of the source at once, and is
// worked on by one goroutine at a time.
const runBytes = 512 << 10

// writeBytes is how much payload a Writer hands to the destination in one
// write. Every write that passes by the page cache waits for the device, so
// they are larger than reads.
const writeBytes = 1 << 20

// runAlign: each byte of a run lies in memory at an address that equals its
// offset in the sealed file modulo runAlign. So a destination can write most of
// a run from where it is, past the page cache, which wants both in multiples of
// a device's block.
const runAlign = 4 << 10

// run is a row of segments being filled, sealed and written. Plaintext lies
// where its sealed form will lie, and is sealed there; or it is taken straight
// from the caller's slice, which saves copying it.
type run struct {
	buf   *[]byte
	at    int   // where in buf the run begins, for the sake of runAlign
	head  int   // bytes of the run before the first segment: the file's header in the first run
	first int64 // index of the first segment
	kinds []kind
	last  bool // the final segment is the file's last
	tail  int  // plaintext bytes of the final segment

	done    int    // segments that are sealed already
	src     []byte // plaintext of the segments from srcFrom on
	srcFrom int
	nonce   nonce

	work     func() // of the goroutine that the run is handed over to; made once
	borrowed bool   // that goroutine reads the caller's slice
	order    int64  // how many runs are to be written before this one
}

// slot returns where the plaintext of the next segment goes.
func (r *run) slot(l *layout) []byte {
	at := r.at + r.head + len(r.kinds)*int(l.sealed())
	return (*r.buf)[at : at+int(l.segment)]
}

// seal seals every segment that is not yet sealed.
func (r *run) seal(c *segmentCipher, l *layout) {
	full, size := int(l.sealed()), int(l.segment)
	for i := r.done; i < len(r.kinds); i++ {
		last, n := false, size
		if i == len(r.kinds)-1 {
			last, n = r.last, r.tail
		}
		at := r.at + r.head + i*full
		dst := (*r.buf)[at : at+full]
		src := dst[:n]
		if r.src != nil && i >= r.srcFrom {
			src = r.src[(i-r.srcFrom)*size:][:n]
		}
		c.seal(dst, src, &r.nonce, r.kinds[i], r.first+int64(i), last)
	}
	r.done, r.src = len(r.kinds), nil
}

// bytes returns what is to be written.
func (r *run) bytes(l *layout) []byte {
	size, n := r.head, len(r.kinds)
	if n > 0 {
		size += (n-1)*int(l.sealed()) + r.tail + int(l.tags)
	}
	return (*r.buf)[r.at:][:size]
}

// reset empties the run, which is to begin with segment first, at offset of the
// sealed file.
func (r *run) reset(first, offset int64) {
	r.at = int(offset-int64(uintptr(unsafe.Pointer(unsafe.SliceData(*r.buf))))) & (runAlign - 1)
	r.head, r.first, r.kinds, r.last, r.tail = 0, first, r.kinds[:0], false, 0
	r.done, r.src, r.srcFrom = 0, nil, 0
}
