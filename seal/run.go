package seal

// runBytes is how much payload goes to the destination in one write, and is
// worked on by one goroutine at a time.
const runBytes = 512 << 10

// run is a row of segments being filled, sealed and written. Plaintext lies
// where its sealed form will lie, and is sealed there; or it is taken straight
// from the caller's slice, which saves copying it.
type run struct {
	buf   *[]byte
	head  int   // bytes of buf before the first segment: the file's header in the first run
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
	at := r.head + len(r.kinds)*int(l.sealed())
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
		at := r.head + i*full
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
	n := len(r.kinds)
	if n == 0 {
		return (*r.buf)[:r.head]
	}
	return (*r.buf)[:r.head+(n-1)*int(l.sealed())+r.tail+int(l.tags)]
}

func (r *run) reset(first int64) {
	r.head, r.first, r.kinds, r.last, r.tail = 0, first, r.kinds[:0], false, 0
	r.done, r.src, r.srcFrom = 0, nil, 0
}
