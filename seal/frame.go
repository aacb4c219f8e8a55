package seal

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// With compression the plaintext is cut into frames of FrameSize bytes, the
// last one shorter, and the data stream is those frames one after another:
//
//	plain length (4 bytes, big endian) ‖ stored length (4 bytes) ‖ body
//
// The body is a zstd frame with its content size declared, or, where the two
// lengths are equal, the plaintext itself. The frame table has 8 bytes for each
// frame: where in the data stream it ends.
const (
	frameHeadLen  = 8
	tableEntryLen = 8
)

var encoders = sync.Pool{New: func() any {
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true),
		zstd.WithWindowSize(MaxFrameSize), zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic("seal: options of the zstd encoder: " + err.Error())
	}
	return e
}}

var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxMemory(MaxFrameSize), zstd.WithDecoderMaxWindow(MaxFrameSize))
	if err != nil {
		panic("seal: options of the zstd decoder: " + err.Error())
	}
	return d
}}

// appendFrame appends the frame of plain to dst.
func appendFrame(dst, plain []byte) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, frameHeadLen)...)
	e := encoders.Get().(*zstd.Encoder)
	dst = e.EncodeAll(plain, dst)
	encoders.Put(e)
	if len(dst)-start-frameHeadLen >= len(plain) {
		dst = append(dst[:start+frameHeadLen], plain...)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(plain)))
	binary.BigEndian.PutUint32(dst[start+4:], uint32(len(dst)-start-frameHeadLen))
	return dst
}

// frameHead reads and checks the lengths of a frame.
func frameHead(b []byte, frameSize int) (plain, stored int, err error) {
	p, s := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if p == 0 || p > uint32(frameSize) || s == 0 || s > p {
		return 0, 0, fmt.Errorf("%w: frame of %d bytes stored as %d", ErrFormat, p, s)
	}
	return int(p), int(s), nil
}

// decodeFrame appends the plaintext, plain bytes long, of a frame's body to
// dst. Memory is bounded by plain.
func decodeFrame(dst, body []byte, plain int) ([]byte, error) {
	if len(body) == plain {
		return append(dst, body...), nil
	}
	if !isOneFrame(body) {
		return nil, fmt.Errorf("%w: a frame is not one zstd frame", ErrFormat)
	}
	dst = grow(dst, plain)
	d := decoders.Get().(*zstd.Decoder)
	out, err := d.DecodeAll(body, dst[:len(dst):len(dst)+plain])
	decoders.Put(d)
	if err != nil || len(out) != len(dst)+plain {
		return nil, fmt.Errorf("%w: a frame does not decompress to its %d bytes", ErrFormat, plain)
	}
	return out, nil
}

// frameReader decodes frames from a data stream that comes in pieces, and
// writes plaintext to dst as soon as a frame is whole.
type frameReader struct {
	size    int    // plaintext bytes of every frame but the last
	pending []byte // head and body of the frame under way
	plain   []byte
	short   bool // the last frame has been seen
}

// next takes bytes from b until a frame is whole. It returns the frame's
// plaintext, valid until the next call, or nil when b did not suffice.
func (f *frameReader) next(b []byte) (plain, rest []byte, err error) {
	if b = f.fill(b, frameHeadLen); len(f.pending) < frameHeadLen {
		return nil, b, err
	}
	n, stored, err := frameHead(f.pending, f.size)
	if err != nil {
		return nil, b, err
	}
	if f.short {
		return nil, b, fmt.Errorf("%w: a frame after the last one", ErrFormat)
	}
	if b = f.fill(b, frameHeadLen+stored); len(f.pending) < frameHeadLen+stored {
		return nil, b, err
	}
	f.short = n < f.size
	f.plain, err = decodeFrame(f.plain[:0], f.pending[frameHeadLen:], n)
	f.pending = f.pending[:0]
	return f.plain, b, err
}

func (f *frameReader) fill(b []byte, want int) []byte {
	n := min(max(want-len(f.pending), 0), len(b))
	f.pending = append(f.pending, b[:n]...)
	return b[n:]
}

// end checks that no frame is left half.
func (f *frameReader) end() error {
	if len(f.pending) != 0 {
		return fmt.Errorf("%w: the last frame: %w", ErrFormat, io.ErrUnexpectedEOF)
	}
	return nil
}

func (f *frameReader) wipe() {
	wipe(f.pending[:cap(f.pending)])
	wipe(f.plain[:cap(f.plain)])
	f.pending, f.plain = nil, nil
}
