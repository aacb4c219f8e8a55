package seal

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"sync"
)

// maxRuns bounds the memory of a Writer: one run being filled, the others being
// sealed or written.
const maxRuns = 3

// Writer seals a stream of unknown length. It is used by one goroutine. Exactly
// one of Close and Abort ends it; only what Close has confirmed can be opened.
//
// Short files are sealed by the caller's goroutine at Close. Once a run of
// segments is full, it is sealed and written by another goroutine while the
// next one is filled; these are waited for before Close or Abort returns.
type Writer struct {
	dst    io.Writer
	header *Header
	cipher *segmentCipher
	lay    layout
	digest hash.Hash // nil where not asked for
	size   int64     // plaintext so far

	frame  *[]byte  // plaintext of the frame under way; nil without compression
	framed int      // bytes in it
	packed []byte   // the last compressed frame
	frames []uint32 // stored lengths

	cur    *run
	fill   int   // plaintext bytes in the current segment
	next   int64 // index of the current segment
	perRun int
	free   chan *run // runs that are neither filled nor worked on
	made   int       // runs in existence
	handed int64     // runs handed over
	sealed int64     // bytes handed to dst

	reading sync.WaitGroup // goroutines that read the caller's slice
	turn    sync.Cond      // told of every change of what follows
	mu      sync.Mutex     // guards it
	written int64          // runs that are written, or would be had none failed
	failed  error          // of dst, found by a goroutine
	err     error          // sticky
}

// NewWriter begins a sealed file on dst. Nothing is written before the first
// run of segments is full or Close is called; what is, comes in large writes,
// each from memory whose address equals its offset in the file modulo 4 KiB, so
// that dst may write whole blocks of it with O_DIRECT.
// Errors: ErrParams, or what a Recipient returned.
func NewWriter(dst io.Writer, p *Params) (*Writer, error) {
	h, mac, c, err := sealHeader(p)
	if err != nil {
		return nil, err
	}
	w := &Writer{
		dst: dst, header: h, cipher: c,
		lay:  layout{segment: int64(h.SegmentSize), tags: int64(c.overhead())},
		free: make(chan *run, maxRuns),
	}
	w.turn.L = &w.mu
	if !p.NoDigest {
		w.digest = sha256.New()
	}
	if h.Compression != CompressNone {
		w.frame = getBuffer(h.FrameSize)
	}
	w.perRun = max(1, writeBytes/h.SegmentSize)
	w.cur = w.newRun(len(h.raw) + macLen)
	w.cur.reset(0, 0)
	w.cur.head = copy((*w.cur.buf)[w.cur.at:], append(h.raw[:len(h.raw):len(h.raw)], mac[:]...))
	return w, nil
}

func (w *Writer) newRun(head int) *run {
	w.made++
	r := &run{
		buf:   getBuffer(runAlign + head + (w.perRun+1)*int(w.lay.sealed())),
		kinds: make([]kind, 0, w.perRun+1),
	}
	r.work = func() { w.process(r) }
	return r
}

// Write seals p. Large slices that begin at a segment's border are sealed from
// where they are, others are copied first; p is not used after Write returns.
func (w *Writer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 && w.err == nil {
		if n := w.sealFrom(p); n > 0 {
			p = p[n:]
			continue
		}
		n := copy(w.space(), p)
		w.advance(n)
		p = p[n:]
	}
	w.settle()
	return total - len(p), w.err
}

// ReadFrom seals everything that r gives, read straight into the segments.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	var total int64
	empty := 0
	for w.err == nil {
		n, err := r.Read(w.space())
		w.advance(n)
		total += int64(n)
		if err == io.EOF {
			return total, w.err
		}
		if err != nil {
			return total, err
		}
		if empty++; n > 0 {
			empty = 0
		} else if empty == 100 {
			return total, io.ErrNoProgress
		}
	}
	return total, w.err
}

// Sum returns length and SHA-256 of the plaintext so far, so that a caller who
// knows what they must be can Abort rather than Close. The digest is zero where
// Params.NoDigest was set.
func (w *Writer) Sum() (size int64, sum [32]byte) {
	if w.digest != nil {
		w.digest.Sum(sum[:0])
	}
	return w.size, sum
}

// space returns where the next plaintext goes; it is never empty unless the
// Writer has failed.
func (w *Writer) space() []byte {
	if w.frame != nil {
		return (*w.frame)[w.framed:]
	}
	w.roll(kindData)
	if w.err != nil {
		return nil
	}
	return w.cur.slot(&w.lay)[w.fill:]
}

// advance takes in n bytes of plaintext that were put into space.
func (w *Writer) advance(n int) {
	if n == 0 || w.err != nil {
		return
	}
	w.size += int64(n)
	if w.frame == nil {
		if w.digest != nil {
			w.digest.Write(w.cur.slot(&w.lay)[w.fill:][:n])
		}
		w.fill += n
		w.lay.data += int64(n)
		return
	}
	if w.digest != nil {
		w.digest.Write((*w.frame)[w.framed:][:n])
	}
	if w.framed += n; w.framed == len(*w.frame) {
		w.endFrame()
	}
}

// sealFrom takes whole segments of p without copying them, as many as the run
// has room for, and returns how many bytes that were.
func (w *Writer) sealFrom(p []byte) int {
	size := int(w.lay.segment)
	if w.frame != nil || len(p) < size {
		return 0
	}
	if w.roll(kindData); w.err != nil || w.fill != 0 || w.cur.src != nil {
		return 0
	}
	r := w.cur
	n := min(len(p)/size, w.perRun-len(r.kinds))
	p = p[:n*size]
	r.src, r.srcFrom = p, len(r.kinds)
	for range n {
		w.complete(kindData, size, false)
	}
	w.size += int64(len(p))
	w.lay.data += int64(len(p))
	if len(r.kinds) == w.perRun && w.err == nil {
		w.handOver() // reads p while the digest does, too
	}
	if w.digest != nil {
		w.digest.Write(p)
	}
	return len(p)
}

// settle ends all use of the caller's slice.
func (w *Writer) settle() {
	w.reading.Wait()
	if w.cur != nil && w.cur.src != nil {
		w.cur.seal(w.cipher, &w.lay)
	}
}

// put copies bytes of one kind into segments.
func (w *Writer) put(k kind, b []byte) {
	for len(b) > 0 {
		w.roll(k)
		if w.err != nil {
			return
		}
		n := copy(w.cur.slot(&w.lay)[w.fill:], b)
		w.fill += n
		b = b[n:]
	}
}

// roll ends the current segment if it is full, and makes sure that there is
// room for another one.
func (w *Writer) roll(k kind) {
	if w.err == nil && w.fill == int(w.lay.segment) {
		w.complete(k, w.fill, false)
	}
	room := w.perRun
	if k == kindTrailer {
		room++ // the end of a file needs no run of its own
	}
	if w.err == nil && len(w.cur.kinds) >= room {
		w.handOver()
	}
}

// complete ends the current segment.
func (w *Writer) complete(k kind, n int, last bool) {
	if w.next == MaxSegments {
		w.err = fmt.Errorf("%w: more than %d segments", ErrParams, int64(MaxSegments))
		return
	}
	w.cur.kinds = append(w.cur.kinds, k)
	w.cur.tail, w.cur.last = n, last
	w.fill = 0
	w.next++
}

// handOver gives the current run to a goroutine that seals it, waits for its
// turn and writes it; and gets an empty run. Nothing is allocated for it.
func (w *Writer) handOver() {
	r := w.cur
	r.order, w.cur = w.handed, nil
	w.handed++
	if r.borrowed = r.src != nil; r.borrowed {
		w.reading.Add(1)
	}
	w.sealed += int64(len(r.bytes(&w.lay)))
	go r.work()
	w.take()
}

// process is what happens to a run that was handed over.
func (w *Writer) process(r *run) {
	r.seal(w.cipher, &w.lay)
	if r.borrowed {
		w.reading.Done()
	}
	w.deliver(r)
	w.free <- r
}

// deliver writes a sealed run once all before it are written.
func (w *Writer) deliver(r *run) {
	err := w.await(r.order)
	if err == nil {
		if _, err = w.dst.Write(r.bytes(&w.lay)); err != nil {
			err = fmt.Errorf("writing sealed file: %w", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = err
	w.written++
	w.turn.Broadcast()
}

// await waits until the first n runs are written, and tells what failed.
func (w *Writer) await(n int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.written < n {
		w.turn.Wait()
	}
	return w.failed
}

func (w *Writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// take makes an empty run the current one.
func (w *Writer) take() {
	select {
	case w.cur = <-w.free:
	default:
		if w.made < maxRuns {
			w.cur = w.newRun(0)
		} else {
			w.cur = <-w.free
		}
	}
	w.cur.reset(w.next, w.sealed)
	if w.err == nil {
		w.err = w.failure()
	}
}

// endFrame compresses the frame under way into the data stream.
func (w *Writer) endFrame() {
	w.packed = appendFrame(w.packed[:0], (*w.frame)[:w.framed])
	w.framed = 0
	w.frames = append(w.frames, uint32(len(w.packed)-frameHeadLen))
	w.lay.data += int64(len(w.packed))
	w.put(kindData, w.packed)
}

// Abort ends the Writer without finishing the file. What was written to dst is
// not a sealed file. After Close it does nothing.
func (w *Writer) Abort() {
	if w.cipher != nil {
		w.err = ErrClosed
		w.release(true)
	}
}

// release waits for the goroutines, gives back the buffers and drops the keys.
// Where a file was finished, sealing has overwritten all plaintext.
func (w *Writer) release(unfinished bool) {
	_ = w.await(w.handed) // what failed has been reported
	if unfinished {
		wipe((*w.cur.buf)[:min(len(*w.cur.buf), w.cur.at+w.cur.head+(len(w.cur.kinds)+1)*int(w.lay.sealed()))])
	}
	putBuffer(w.cur.buf)
	for range w.made - 1 {
		putBuffer((<-w.free).buf)
	}
	if w.frame != nil {
		wipe(*w.frame)
		putBuffer(w.frame)
		wipe(w.packed[:cap(w.packed)])
	}
	w.cipher.wipe()
	w.cur, w.frame, w.packed, w.cipher = nil, nil, nil, nil
	if w.err == nil {
		w.err = ErrClosed
	}
}
