package seal

import (
	"errors"
	"fmt"
	"io"
)

// Lost is a part of the plaintext that a damaged sealed file does not give
// any more.
type Lost struct {
	Offset int64 // in the plaintext, bytes
	Length int64 // bytes; of a part that is not Exact, no more than a place holder
	Exact  bool  // Length is what is missing; else what follows lies at offsets that are not known
}

// Salvage opens what a damaged sealed file still holds. Its header must be
// whole, since the keys hang on it; of the rest every segment is opened by
// itself, so that one that fails takes with it nothing but its own plaintext
// and, with compression, the frames that lie in it. Everything it gives out is
// authenticated, and in its right order.
//
// Where the end of the file is whole, it tells where everything lies, and what
// is lost is known to the byte. Without it, data are what opens as data, frames
// are followed from one to the next, and behind a gap the next one is looked
// for; contents that were made to look like frames could pass for some then, and
// the number of bytes in such a gap is not known.
//
// It is used by one goroutine.
type Salvage struct {
	r     *ReaderAt
	whole bool  // the end opened
	data  int64 // segments of data, but for the rest in the end block
	rest  []byte
	size  int64 // of the plaintext, as far as is known

	frames  []int64 // where each begins in the data stream; -1: lost. With compression
	shifted bool    // frames is not in step with the frame table any more
	lost    []Lost

	near   [2]*openedSegment // the ones that were opened last
	packed []byte
}

// openedSegment is a segment of the data stream or of the frame table.
type openedSegment struct {
	kind  kind
	index int64
	buf   []byte
	plain []byte
	err   error
}

// NewSalvage unlocks the sealed file in src, size bytes long, and finds out
// what of it opens; it reads all of it for that. Errors are those of a file of
// which nothing can be read: ErrFormat, ErrUnsupported, ErrNoKey, and for a
// damaged header ErrTampered and ErrTruncated.
func NewSalvage(src io.ReaderAt, size int64, o *Open) (*Salvage, error) {
	raw, err := readHeaderAt(src, size)
	if err != nil {
		return nil, err
	}
	r := &ReaderAt{src: src}
	if err := r.unlock(raw, size, o); err != nil && (r.cipher == nil || !errors.Is(err, ErrTruncated)) {
		return nil, err
	} else if err != nil { // the last segment is too short to be one
		r.count = (size - r.start) / r.lay.sealed()
	}
	s := &Salvage{r: r}
	if err := r.load(); err == nil {
		s.whole, s.size, s.data, s.rest = true, r.trailer.Size, r.lay.dataSegments(), r.lay.dataRest(*r.end)
	} else {
		s.count()
	}
	if r.header.Compression == CompressNone {
		s.surveySegments()
	} else {
		s.surveyFrames()
	}
	if !s.whole {
		s.lose(s.size, 0, false)
	}
	return s, nil
}

// Size returns the length of the plaintext, lost parts included; where the end
// of the file is lost, of what comes before.
func (s *Salvage) Size() int64 { return s.size }

// Lost returns what is lost, in order. It is empty for a file that is whole.
func (s *Salvage) Lost() []Lost { return s.lost }

// Header returns the authenticated header.
func (s *Salvage) Header() *Header { return s.r.header }

// Trailer returns what the end of the file tells; nil where it is lost.
func (s *Salvage) Trailer() *Trailer {
	if !s.whole {
		return nil
	}
	return s.r.trailer
}

// BlockSize is the length in bytes of the parts in which a Salvage gives out
// plaintext: of a frame, or without compression of a segment.
func (s *Salvage) BlockSize() int {
	if s.r.header.Compression != CompressNone {
		return s.r.header.FrameSize
	}
	return s.r.header.SegmentSize
}

// Close wipes plaintext that is held and drops the keys.
func (s *Salvage) Close() error {
	for _, n := range s.near {
		if n != nil {
			wipe(n.buf)
		}
	}
	wipe(s.packed[:cap(s.packed)])
	wipe(s.rest)
	return s.r.Close()
}

// ReadBlock appends block i, which begins at offset i × BlockSize, to dst. The
// error of a block that is lost tells why; io.EOF is that of one behind the end.
func (s *Salvage) ReadBlock(dst []byte, i int64) ([]byte, error) {
	if i < 0 || i*int64(s.BlockSize()) >= s.size {
		return dst, io.EOF
	}
	if s.r.header.Compression == CompressNone {
		n := min(int64(s.BlockSize()), s.size-i*int64(s.BlockSize()))
		at := len(dst)
		dst = append(dst, make([]byte, n)...)
		return dst, s.read(dst[at:], i*s.r.lay.segment)
	}
	if i >= int64(len(s.frames)) {
		return dst, fmt.Errorf("%w: it has fewer frames than its trailer says", ErrFormat)
	}
	at := s.frames[i]
	if at < 0 {
		return dst, fmt.Errorf("%w: frame %d is lost", ErrTampered, i)
	}
	plain, stored, err := s.frameAt(at)
	if err != nil {
		return dst, err
	}
	s.packed = grow(s.packed[:0], stored)[:stored]
	if err := s.read(s.packed, at+frameHeadLen); err != nil {
		return dst, err
	}
	return decodeFrame(dst, s.packed, plain)
}

// lose notes a lost part; neighbours become one.
func (s *Salvage) lose(off, n int64, exact bool) {
	if k := len(s.lost) - 1; k >= 0 && s.lost[k].Offset+s.lost[k].Length == off {
		s.lost[k].Length += n
		s.lost[k].Exact = s.lost[k].Exact && exact
		return
	}
	s.lost = append(s.lost, Lost{off, n, exact})
}

// count finds, without the end, how many segments hold data: up to the last one
// that opens as that. With compression the end block's first segment begins
// with the rest of the data; the frames tell where they end.
func (s *Salvage) count() {
	for s.data = s.r.count; s.data > 0; s.data-- {
		if s.open(kindData, s.data-1).err == nil {
			break
		}
	}
	next := s.data
	for next < s.r.count && s.open(kindTable, next).err == nil {
		next++
	}
	if s.r.header.Compression != CompressNone && next < s.r.count {
		if seg := s.open(kindTrailer, next); seg.err == nil {
			s.rest = append([]byte(nil), seg.plain...)
		}
	}
}

// open returns segment index, opened as kind.
func (s *Salvage) open(k kind, index int64) *openedSegment {
	for i, n := range s.near {
		if n != nil && n.index == index && n.kind == k {
			s.near[0], s.near[i] = n, s.near[0]
			return n
		}
	}
	n := s.near[1]
	if n == nil {
		n = &openedSegment{buf: make([]byte, s.r.lay.sealed())}
	}
	s.near[1], s.near[0] = s.near[0], n
	n.kind, n.index, n.plain = k, index, nil
	if n.err = s.r.read(n.buf, s.r.start+index*s.r.lay.sealed()); n.err == nil {
		var nc nonce
		n.plain, n.err = s.r.cipher.open(n.buf, n.buf, n.buf, &nc, k, index, false)
	}
	return n
}

// read fills p from off of the data stream.
func (s *Salvage) read(p []byte, off int64) error {
	size := s.r.lay.segment
	for len(p) > 0 && off < s.data*size {
		seg := s.open(kindData, off/size)
		if seg.err != nil {
			return seg.err
		}
		n := copy(p, seg.plain[off%size:])
		p, off = p[n:], off+int64(n)
	}
	if at := off - s.data*size; len(p) > 0 && at+int64(len(p)) > int64(len(s.rest)) {
		return fmt.Errorf("%w: it ends within its data", ErrTruncated)
	} else if len(p) > 0 {
		copy(p, s.rest[at:])
	}
	return nil
}

// surveySegments finds what is lost without compression.
func (s *Salvage) surveySegments() {
	if !s.whole {
		s.size = s.data * s.r.lay.segment
	}
	for i := range s.data {
		if s.open(kindData, i).err != nil {
			s.lose(i*s.r.lay.segment, s.r.lay.segment, true)
		}
	}
}
