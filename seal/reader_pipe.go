package seal

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// lookAhead is how many runs are opened while one is being written.
const lookAhead = 2

// ReadRange writes n bytes of plaintext from off to w, a run of segments in
// each write. Long ranges are read and opened ahead of the writing by other
// goroutines, which have ended when ReadRange returns. Every byte written is
// authenticated; after an error what was written is a true beginning.
// Errors: ErrParams where the range is not within the file.
func (r *ReaderAt) ReadRange(w io.Writer, off, n int64) error {
	if r.cipher == nil {
		return ErrClosed
	}
	if off < 0 || n < 0 || off > r.Size() || n > r.Size()-off {
		return fmt.Errorf("%w: bytes %d to %d of a file of %d", ErrParams, off, off+n, r.Size())
	}
	step := max(runBytes, int64(r.header.FrameSize), r.lay.segment)
	if n > step {
		return r.pipe(w, off, off+n, step)
	}
	buf := getBuffer(int(n))
	defer dropBuffer(buf)
	if err := r.readPlain(*buf, off); err != nil {
		return err
	}
	return writeAll(w, *buf)
}

// piece is a run of a long range.
type piece struct {
	task
	buf *[]byte
	off int64
	err error
}

func (r *ReaderAt) newPiece(size int64) *piece {
	p := &piece{buf: getBuffer(int(size))}
	p.task = newTask(func() { p.err = r.readPlain(*p.buf, p.off) })
	return p
}

// pipe uses the same few buffers again and again; they are wiped at the end.
func (r *ReaderAt) pipe(w io.Writer, off, end, step int64) error {
	var ring [lookAhead + 1]*piece
	begun, done := 0, 0 // pieces; the next of each is at this place of the ring
	defer func() {
		for ; done < begun; done++ {
			ring[done%len(ring)].wait()
		}
		for _, p := range ring[:min(begun, len(ring))] {
			*p.buf = (*p.buf)[:step]
			dropBuffer(p.buf)
		}
	}()
	for off < end || done < begun {
		for off < end && begun-done < len(ring) {
			i := begun % len(ring)
			if ring[i] == nil {
				ring[i] = r.newPiece(step)
			}
			p := ring[i]
			to := min(end, (off/step+1)*step) // pieces begin where segments and frames do
			p.off, *p.buf = off, (*p.buf)[:to-off]
			p.start()
			begun, off = begun+1, to
		}
		p := ring[done%len(ring)]
		p.wait()
		done++
		if p.err != nil {
			return p.err
		}
		if err := writeAll(w, *p.buf); err != nil {
			return err
		}
	}
	return nil
}

// dropBuffer wipes plaintext and gives its buffer back.
func dropBuffer(b *[]byte) {
	wipe(*b)
	putBuffer(b)
}

func writeAll(w io.Writer, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// Verify authenticates the whole file, padding included, and compares the
// digest if there is one.
func (r *ReaderAt) Verify() error {
	if r.cipher == nil {
		return ErrClosed
	}
	if err := r.load(); err != nil {
		return err
	}
	var w io.Writer = io.Discard
	var digest hash.Hash
	if r.trailer.HasDigest {
		digest = sha256.New()
		w = digest
	}
	if err := r.ReadRange(w, 0, r.Size()); err != nil {
		return err
	}
	if digest != nil && [32]byte(digest.Sum(nil)) != r.trailer.SHA256 {
		return fmt.Errorf("%w: SHA-256 of the contents differs", ErrTampered)
	}
	return r.checkRest()
}

// checkRest authenticates the segments that hold neither data nor the end
// block.
func (r *ReaderAt) checkRest() error {
	if r.lay.dataSegments() == r.lay.whole() {
		return nil
	}
	buf := getBuffer(int(r.lay.sealed()))
	defer dropBuffer(buf)
	var n nonce
	for i := r.lay.dataSegments(); i < r.lay.whole(); i++ {
		if err := r.read(*buf, r.start+i*r.lay.sealed()); err != nil {
			return fmt.Errorf("reading segment %d: %w", i, err)
		}
		if _, err := r.cipher.open(*buf, *buf, *buf, &n, r.lay.kindOf(i), i, false); err != nil {
			return err
		}
	}
	return nil
}
