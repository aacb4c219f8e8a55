package seal

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"runtime"
)

// Reader opens a sealed file from its beginning to its end. It is used by one
// goroutine.
//
// It gives out no byte of a segment before that segment is authenticated, and
// io.EOF only when the trailer, the number of segments and the physical end
// agree (and the digest, with Open.CheckDigest). Whoever acts on the contents
// before io.EOF acts on a true beginning of them.
type Reader struct {
	src    io.Reader
	header *Header
	cipher *segmentCipher
	open   Open
	lay    layout

	last   *batch                // that was filled; what it has beyond its segments comes before the next
	ahead  [lookAhead + 1]*batch // filled and being opened, oldest first
	count  int                   // of them
	free   []*batch              // neither being filled nor opened
	giving *batch                // whose plaintext is being given out
	eager  bool                  // WriteTo is under way: read ahead
	ended  bool                  // nothing is to be filled any more

	phase kind     // of the last segment that was opened
	seen  [5]int64 // segments of each kind
	index int64    // of the next segment
	read  int64    // bytes read, the header's included
	end   endBlock // as far as it has been read

	out    []byte       // plaintext to give out
	feed   []byte       // data stream to decompress
	frames *frameReader // nil without compression
	digest hash.Hash
	size   int64 // plaintext given out
	stop   error // to be reported after out and feed
	err    error // sticky
}

// NewReader reads and checks the header of a sealed file against o. Errors:
// ErrFormat, ErrUnsupported, ErrNoKey, ErrTampered, ErrTruncated, or what src
// or an Identity returned.
func NewReader(src io.Reader, o *Open) (*Reader, error) {
	h, err := ReadHeader(src)
	if err != nil {
		return nil, err
	}
	var mac [macLen]byte
	if _, err := io.ReadFull(src, mac[:]); err != nil {
		return nil, shortHeader(h.raw, err)
	}
	c, err := unlock(h, mac[:], o)
	if err != nil {
		return nil, err
	}
	r := &Reader{src: src, header: h, cipher: c, open: *o, phase: kindData, read: int64(h.Size())}
	r.lay = layout{segment: int64(h.SegmentSize), tags: int64(c.overhead())}
	if h.Compression != CompressNone {
		r.frames = &frameReader{size: h.FrameSize}
	}
	if o.CheckDigest {
		r.digest = sha256.New()
	}
	return r, nil
}

// Header returns the authenticated header.
func (r *Reader) Header() *Header { return r.header }

// Trailer returns what the trailer tells; nil before io.EOF.
func (r *Reader) Trailer() *Trailer {
	if r.err != io.EOF {
		return nil
	}
	return r.end.trailer
}

// Info returns lengths and digest; zero before io.EOF.
func (r *Reader) Info() Info {
	t := r.Trailer()
	if t == nil {
		return Info{}
	}
	return Info{Size: t.Size, SealedSize: r.read, SHA256: t.SHA256}
}

// Recovery returns the trailer's recovery record; zero before io.EOF.
func (r *Reader) Recovery() Recovery {
	t := r.Trailer()
	if t == nil {
		return Recovery{}
	}
	return t.Recovery
}

// Read reads plaintext.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.ready(); err != nil {
		return 0, err
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// WriteTo writes all plaintext that is left to w, a run of segments in each
// write. Its error is nil when the end was reached and everything agreed. While
// a run is being written, the next ones are read, and opened by other
// goroutines, which have ended when WriteTo returns.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	r.eager = runtime.GOMAXPROCS(0) > 1 // else more buffers only spread over the caches
	defer r.settle()
	var total int64
	for {
		if err := r.ready(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(r.out)
		total += int64(n)
		if err == nil && n < len(r.out) {
			err = io.ErrShortWrite
		}
		r.out = r.out[n:]
		if err != nil {
			return total, err
		}
	}
}

// Close wipes what is held and drops the keys. It is not needed after Read or
// WriteTo have reported the end or an error of the sealed file.
func (r *Reader) Close() error {
	if r.err == nil {
		r.err = ErrClosed
	}
	r.release()
	return nil
}

func (r *Reader) release() {
	if r.cipher == nil {
		return
	}
	r.settle()
	for _, b := range r.ahead[:r.count] {
		b.drop()
	}
	for _, b := range r.free {
		b.drop()
	}
	if r.giving != nil {
		r.giving.drop()
	}
	if r.end.buf != nil {
		r.end.drop()
	}
	if r.frames != nil {
		r.frames.wipe()
	}
	r.cipher.wipe()
	r.cipher, r.last, r.giving, r.free, r.count = nil, nil, nil, nil, 0
	r.out, r.feed, r.end.buf, r.end.have = nil, nil, nil, nil
}

// ready makes out non-empty, or returns why it cannot.
func (r *Reader) ready() error {
	for len(r.out) == 0 && r.err == nil {
		switch {
		case len(r.feed) > 0:
			if err := r.decompress(); err != nil {
				r.feed, r.stop = nil, err
			}
		case r.stop != nil:
			r.err = r.stop
			r.release()
		case r.end.trailer != nil:
			r.err = r.agree()
			r.release()
		default:
			r.stop = r.next()
		}
	}
	if len(r.out) > 0 {
		return nil
	}
	return r.err
}

// give makes plaintext ready to be read.
func (r *Reader) give(plain []byte) {
	r.out = plain
	r.size += int64(len(plain))
	if r.digest != nil {
		r.digest.Write(plain)
	}
}

func (r *Reader) decompress() error {
	plain, rest, err := r.frames.next(r.feed)
	r.feed = rest
	if err == nil {
		r.give(plain)
	}
	return err
}

// agree makes the last checks and returns io.EOF if all is well.
func (r *Reader) agree() error {
	if r.frames != nil {
		if err := r.frames.end(); err != nil {
			return err
		}
	}
	t := r.end.trailer
	if r.size != t.Size {
		return fmt.Errorf("%w: it holds %d bytes, its trailer says %d", ErrFormat, r.size, t.Size)
	}
	if r.digest != nil && t.HasDigest && [32]byte(r.digest.Sum(nil)) != t.SHA256 {
		return fmt.Errorf("%w: SHA-256 of the contents differs", ErrTampered)
	}
	return io.EOF
}
