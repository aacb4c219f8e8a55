package seal

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// ReaderAt opens any part of a sealed file at the cost of that part. Its
// methods are safe for concurrent use, but for Close.
//
// Nothing is believed that was not authenticated: the header's MAC is checked
// first, then the last segment, which tells where the parts lie and cannot be
// another file's or an earlier one. Where Open names both lengths and there is
// no compression, those tell it already, and the last segment is opened only
// when something in it is asked for.
type ReaderAt struct {
	src    io.ReaderAt
	mem    []byte // the sealed file where it is at hand; src is nil then
	header *Header
	cipher *segmentCipher
	open   Open
	size   int64 // of the sealed file
	start  int64 // where the segments begin
	count  int64 // segments
	last   int64 // sealed length of the last one

	plain int64 // plaintext length
	data  int64 // whole data segments

	once    sync.Once
	err     error // of loading the end
	lay     layout
	trailer *Trailer
	end     *[]byte // the end block
}

// NewReaderAt checks the header of the sealed file in src, sealedSize bytes
// long, against o. Errors: ErrFormat, ErrUnsupported, ErrNoKey, ErrTampered,
// ErrTruncated, or what src or an Identity returned.
func NewReaderAt(src io.ReaderAt, sealedSize int64, o *Open) (*ReaderAt, error) {
	raw, err := readHeaderAt(src, sealedSize)
	if err != nil {
		return nil, err
	}
	return newReaderAt(src, raw, sealedSize, o)
}

// readHeaderAt returns magic, length, header and MAC.
func readHeaderAt(src io.ReaderAt, sealedSize int64) ([]byte, error) {
	const usual = 1 << 10
	raw := make([]byte, min(usual, max(sealedSize, 0)))
	if err := readFullAt(src, raw, 0); err != nil {
		return nil, fmt.Errorf("reading header: %w", err)
	}
	hlen, err := parsePreamble(raw)
	if err != nil {
		return nil, err
	}
	need := preambleLen + hlen + macLen
	if int64(need) > sealedSize {
		return nil, fmt.Errorf("%w: it ends within the header", ErrTruncated)
	}
	if need > len(raw) {
		raw = append(raw, make([]byte, need-len(raw))...)
		if err := readFullAt(src, raw[usual:], usual); err != nil {
			return nil, fmt.Errorf("reading header: %w", err)
		}
	}
	return raw[:need], nil
}

// newReaderAt does what NewReaderAt does with a header that has been read.
func newReaderAt(src io.ReaderAt, raw []byte, sealedSize int64, o *Open) (*ReaderAt, error) {
	r := &ReaderAt{src: src}
	if err := r.unlock(raw, sealedSize, o); err != nil {
		return nil, err
	}
	if err := r.measure(); err != nil {
		return nil, err
	}
	return r, nil
}

// unlock checks the header and its MAC, raw, which is kept, and counts the
// segments. Of what is in them it knows nothing yet.
func (r *ReaderAt) unlock(raw []byte, sealedSize int64, o *Open) error {
	at := len(raw) - macLen
	h, err := parseHeader(raw[:at:at])
	if err != nil {
		return err
	}
	if o.Size >= 0 && o.Size != sealedSize {
		return wrongSize(sealedSize, o.Size)
	}
	c, err := unlock(h, raw[at:], o)
	if err != nil {
		return err
	}
	r.header, r.cipher, r.open, r.size, r.start = h, c, *o, sealedSize, int64(len(raw))
	r.lay = layout{segment: int64(h.SegmentSize), tags: int64(c.overhead())}
	r.count, r.last, err = r.lay.split(sealedSize - r.start)
	return err
}

// read fills p from off of the sealed file.
func (r *ReaderAt) read(p []byte, off int64) error {
	if r.mem != nil {
		copy(p, r.mem[off:]) // segments lie within what is at hand
		return nil
	}
	return readFullAt(r.src, p, off)
}

// measure finds the length of the plaintext: from what is expected where that
// tells it, else from the end of the file.
func (r *ReaderAt) measure() error {
	if o := &r.open; o.Size >= 0 && o.PlainSize >= 0 && r.header.Compression == CompressNone {
		r.plain, r.data = o.PlainSize, o.PlainSize/r.lay.segment
		if r.data >= r.count {
			return fmt.Errorf("%w: it is too short for its contents", ErrTampered)
		}
		return nil
	}
	if err := r.load(); err != nil {
		return err
	}
	r.plain, r.data = r.trailer.Size, r.lay.dataSegments()
	return nil
}

// wrongSize is the error of a sealed file that has not the length it should.
func wrongSize(got, want int64) error {
	if got < want {
		return fmt.Errorf("%w: %d bytes of %d", ErrTruncated, got, want)
	}
	return fmt.Errorf("%w: %d bytes where there should be %d", ErrTampered, got, want)
}

// readFullAt fills p from off; what is missing there is missing from the file.
func readFullAt(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: its source ends at byte %d", ErrTruncated, off+int64(n))
	}
	return err
}

// Size returns the length of the plaintext.
func (r *ReaderAt) Size() int64 { return r.plain }

// Header returns the authenticated header.
func (r *ReaderAt) Header() *Header { return r.header }

// Trailer authenticates the end of the file, if that has not been done, and
// returns what it tells.
func (r *ReaderAt) Trailer() (*Trailer, error) {
	if err := r.load(); err != nil {
		return nil, err
	}
	return r.trailer, nil
}

// Recovery returns the trailer's recovery record.
func (r *ReaderAt) Recovery() (Recovery, error) {
	t, err := r.Trailer()
	if err != nil {
		return Recovery{}, err
	}
	return t.Recovery, nil
}

// Close wipes plaintext that is held and drops the keys. No other method may
// be under way or called after it.
func (r *ReaderAt) Close() error {
	r.once.Do(func() { r.err = ErrClosed })
	if r.end != nil {
		wipe(*r.end)
		putBuffer(r.end)
	}
	if r.cipher != nil {
		r.cipher.wipe()
	}
	r.end, r.cipher, r.err = nil, nil, ErrClosed
	return nil
}

// load authenticates the last segment and reads the end block.
func (r *ReaderAt) load() error {
	r.once.Do(func() { r.err = r.loadEnd() })
	return r.err
}

func (r *ReaderAt) loadEnd() error {
	var n nonce
	end := endBlock{lay: &r.lay}
	if err := r.openLast(&end, &n); err != nil {
		return err
	}
	for i := r.count - 1; ; {
		done, err := end.parse(r.header, &r.open)
		if done && err == nil {
			break
		}
		if err == nil {
			i--
			err = r.prepend(&end, i, &n)
		}
		if err != nil {
			end.drop()
			return err
		}
	}
	r.trailer, r.end = end.trailer, end.buf
	*r.end = end.have
	return nil
}

// openLast reads and opens the last segment, with which the end block begins.
func (r *ReaderAt) openLast(end *endBlock, n *nonce) error {
	index := r.count - 1
	sealed := getBuffer(int(r.last))
	defer putBuffer(sealed)
	if err := r.read(*sealed, r.start+index*r.lay.sealed()); err != nil {
		return fmt.Errorf("reading the last segment: %w", err)
	}
	scratch := sealed // not needed with one stage
	if len(r.cipher.aeads) > 1 {
		scratch = getBuffer(int(r.last))
		defer putBuffer(scratch)
	}
	plain := getBuffer(int(r.last))
	out, err := r.cipher.openLast(*plain, *sealed, *scratch, n, index, kindData, r.lay.sealed())
	if err != nil {
		putBuffer(plain)
		return err
	}
	end.buf, end.have = plain, out
	end.total = index*r.lay.segment + int64(len(out))
	return nil
}

// prepend reads segment i, of the end block too, and puts it before what is
// there of it.
func (r *ReaderAt) prepend(end *endBlock, i int64, n *nonce) error {
	if i < 0 {
		return fmt.Errorf("%w: the end block is longer than the file", ErrFormat)
	}
	seg := getBuffer(int(r.lay.sealed()))
	if err := r.read(*seg, r.start+i*r.lay.sealed()); err != nil {
		putBuffer(seg)
		return fmt.Errorf("reading segment %d: %w", i, err)
	}
	plain, err := r.cipher.open(*seg, *seg, *seg, n, kindTrailer, i, false)
	if err != nil {
		putBuffer(seg)
		return err
	}
	end.prepend(plain)
	wipe(plain)
	putBuffer(seg)
	return nil
}
