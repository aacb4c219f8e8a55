package seal

import (
	"encoding/binary"
	"fmt"
	"io"
)

// ReadAt reads len(p) bytes of plaintext from off, as io.ReaderAt. Only the
// first n bytes of p hold anything; all of them are authenticated.
func (r *ReaderAt) ReadAt(p []byte, off int64) (n int, err error) {
	if r.cipher == nil {
		return 0, ErrClosed
	}
	if off < 0 {
		return 0, fmt.Errorf("%w: negative offset", ErrParams)
	}
	if off >= r.Size() {
		return 0, io.EOF
	}
	if rest := r.Size() - off; int64(len(p)) > rest {
		p, err = p[:rest], io.EOF
	}
	if e := r.readPlain(p, off); e != nil {
		wipe(p)
		return 0, e
	}
	return len(p), err
}

// readPlain fills p from off, which lie within the plaintext.
func (r *ReaderAt) readPlain(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	if r.header.Compression != CompressNone {
		return r.readFrames(p, off)
	}
	if off+int64(len(p)) > r.data*r.lay.segment {
		if err := r.load(); err != nil {
			return err
		}
	}
	return r.readStream(p, off, kindData)
}

// readStream fills p from off of the data stream or of the frame table. The end
// block must have been loaded if what it holds is asked for.
func (r *ReaderAt) readStream(p []byte, off int64, k kind) error {
	size := r.lay.segment
	first, whole := int64(0), r.data
	if k == kindTable {
		first, whole = r.data, r.lay.tableSegments()
	}
	for len(p) > 0 && off < whole*size {
		from := off / size
		to := min(whole, (off+int64(len(p))+size-1)/size, from+max(1, runBytes/size))
		n, err := r.readSegments(p, off-from*size, first+from, to-from, k)
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	if len(p) == 0 {
		return nil
	}
	rest := r.lay.dataRest(*r.end)
	if k == kindTable {
		rest = r.lay.tableRest(*r.end)
	}
	at := off - whole*size
	if at+int64(len(p)) > int64(len(rest)) {
		return fmt.Errorf("%w: a frame lies outside the data", ErrFormat)
	}
	copy(p, rest[at:])
	return nil
}

// readSegments reads n neighbouring segments from first on at once, opens them
// and copies their plaintext, without the first skip bytes, to p. It returns
// how much that was. What is at hand is opened where it lies, and left as it is.
func (r *ReaderAt) readSegments(p []byte, skip, first, n int64, k kind) (int, error) {
	full, size := int(r.lay.sealed()), int(r.lay.segment)
	at := r.start + first*int64(full)
	var buf *[]byte
	var run []byte
	if r.mem != nil {
		buf = getBuffer(full)
		run = r.mem[at:][:int(n)*full]
	} else {
		buf = getBuffer(int(n) * full)
		run = *buf
	}
	defer putBuffer(buf)
	if r.mem == nil {
		if err := readFullAt(r.src, run, at); err != nil {
			return 0, fmt.Errorf("reading segments from %d on: %w", first, err)
		}
	}
	total := 0
	nc := nonces.Get().(*nonce)
	defer nonces.Put(nc)
	for i := range int(n) {
		sealed := run[i*full : (i+1)*full]
		spare := sealed // may be overwritten
		if r.mem != nil {
			spare = *buf
		}
		if skip == 0 && len(p)-total >= size { // straight to where it is wanted
			if _, err := r.cipher.open(p[total:total:total+size], sealed, spare, nc, k, first+int64(i), false); err != nil {
				return 0, err
			}
			total += size
			continue
		}
		plain, err := r.cipher.open(spare, sealed, spare, nc, k, first+int64(i), false)
		if err != nil {
			return 0, err
		}
		total += copy(p[total:], plain[skip:])
		wipe(plain)
		skip = 0
	}
	return total, nil
}

// readFrames fills p from off out of compressed frames.
func (r *ReaderAt) readFrames(p []byte, off int64) error {
	if err := r.load(); err != nil {
		return err
	}
	size := int64(r.header.FrameSize)
	first := off / size
	count := (off+int64(len(p))-1)/size - first + 1
	ends, err := r.frameEnds(first, count)
	if err != nil {
		return err
	}
	packed, plain := getBuffer(0), getBuffer(int(size))
	defer func() {
		wipe((*packed)[:cap(*packed)])
		putBuffer(packed)
		wipe(*plain)
		putBuffer(plain)
	}()
	for i := range count {
		begin, end := ends[i], ends[i+1]
		if int64(cap(*packed)) < end-begin {
			putBuffer(packed)
			packed = getBuffer(int(end - begin))
		}
		*packed = (*packed)[:end-begin]
		want := min(size, r.plain-(first+i)*size)
		out, err := r.readFrame((*plain)[:0], *packed, begin, want)
		if err != nil {
			return fmt.Errorf("frame %d: %w", first+i, err)
		}
		n := copy(p, out[off-(first+i)*size:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// readFrame reads the frame that fills packed, at off of the data stream, and
// appends its plaintext, which must have want bytes, to dst.
func (r *ReaderAt) readFrame(dst, packed []byte, off, want int64) ([]byte, error) {
	if err := r.readStream(packed, off, kindData); err != nil {
		return nil, err
	}
	n, stored, err := frameHead(packed, r.header.FrameSize)
	if err != nil {
		return nil, err
	}
	if int64(n) != want || stored != len(packed)-frameHeadLen {
		return nil, fmt.Errorf("%w: the frame is not what the table says", ErrFormat)
	}
	return decodeFrame(dst, packed[frameHeadLen:], n)
}

// frameEnds returns where frame first begins and where it and the following
// ones end, count+1 offsets in the data stream.
func (r *ReaderAt) frameEnds(first, count int64) ([]int64, error) {
	ends := make([]int64, count+1)
	skip := int64(1)
	if first == 0 {
		skip = 0 // frame 0 begins at 0, for which the table has no entry
	}
	raw := make([]byte, (count+skip)*tableEntryLen)
	if err := r.readStream(raw, (first-skip)*tableEntryLen, kindTable); err != nil {
		return nil, err
	}
	for i := range count + skip {
		ends[i+1-skip] = int64(binary.BigEndian.Uint64(raw[i*tableEntryLen:]))
	}
	for i := range count {
		if n := ends[i+1] - ends[i]; ends[i] < 0 || ends[i+1] > r.lay.data || n <= frameHeadLen || n > int64(frameHeadLen+r.header.FrameSize) {
			return nil, fmt.Errorf("%w: the frame table is out of order", ErrFormat)
		}
	}
	return ends, nil
}
