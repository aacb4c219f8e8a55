package archive

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/efs-project/efs/seal"
)

// source is the plaintext of an archive, read forwards.
type source interface {
	io.Reader
	// offset is where the next byte lies.
	offset() int64
	// skip passes over n bytes.
	skip(n int64) error
	// lost are the parts that are not there, in order.
	lost() []seal.Lost
	// size is the length of it all; -1 where it is not known.
	size() int64
	// finish makes sure that nothing follows, and that what was read is whole.
	finish() error
	close()
}

// streamed is the plaintext of a sealed file that comes in, or of a tar.
type streamed struct {
	r      io.Reader
	closer io.Closer
	pos    int64
}

func (s *streamed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.pos += int64(n)
	return n, err
}

func (s *streamed) offset() int64     { return s.pos }
func (s *streamed) size() int64       { return -1 }
func (s *streamed) lost() []seal.Lost { return nil }

func (s *streamed) skip(n int64) error {
	m, err := io.CopyN(io.Discard, s.r, n)
	s.pos += m
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *streamed) finish() error { return nothingMore(s.r) }

func (s *streamed) close() {
	if s.closer != nil {
		_ = s.closer.Close() // it was read only
	}
}

// nothingMore reads to the end, which must hold nothing but zeros.
func nothingMore(r io.Reader) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return fmt.Errorf("%w: something follows its end", ErrFormat)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// blocks is the plaintext of a sealed file at hand: block by block, the next
// one being opened while the present one is read.
type blocks struct {
	get    func(dst []byte, i int64) ([]byte, error) // one call at a time; io.EOF behind the end
	closer io.Closer
	block  int64 // bytes of each
	length int64
	gaps   []seal.Lost

	pos   int64
	index int64 // of data; -1: none
	data  []byte
	err   error // of getting it
	zeros bool  // lost parts read as zeros, else as errLost

	ahead chan opened // holds what is being opened, if something is
	next  int64       // its index
	spare []byte
}

type opened struct {
	data []byte
	err  error
}

// errLost is the error of reading what is lost.
var errLost = errors.New("lost")

func (b *blocks) offset() int64     { return b.pos }
func (b *blocks) size() int64       { return b.length }
func (b *blocks) lost() []seal.Lost { return b.gaps }

func (b *blocks) skip(n int64) error {
	if n < 0 || n > b.length-b.pos {
		b.pos = b.length
		return io.ErrUnexpectedEOF
	}
	b.pos += n
	return nil
}

func (b *blocks) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if b.pos >= b.length {
		return 0, io.EOF
	}
	if gap, until := b.gapAt(b.pos); gap {
		if !b.zeros {
			return 0, errLost
		}
		n := int(min(int64(len(p)), until-b.pos))
		clear(p[:n])
		b.pos += int64(n)
		return n, nil
	} else if int64(len(p)) > until-b.pos {
		p = p[:until-b.pos]
	}
	if err := b.load(b.pos / b.block); err != nil {
		return 0, err
	}
	at := b.pos % b.block
	if at >= int64(len(b.data)) {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, b.data[at:])
	b.pos += int64(n)
	return n, nil
}

// gapAt reports whether off is lost, and up to where that is so.
func (b *blocks) gapAt(off int64) (bool, int64) {
	i := sort.Search(len(b.gaps), func(i int) bool { return off < b.gaps[i].Offset+b.gaps[i].Length })
	switch {
	case i == len(b.gaps):
		return false, b.length
	case off < b.gaps[i].Offset:
		return false, b.gaps[i].Offset
	}
	return true, b.gaps[i].Offset + b.gaps[i].Length
}

// load makes block i the present one, and has the next one opened.
func (b *blocks) load(i int64) error {
	if b.index == i {
		return b.err
	}
	b.index, b.spare, b.data = i, b.data, nil
	if b.ahead != nil {
		got := <-b.ahead
		b.ahead = nil
		if b.next == i {
			b.data, b.err = got.data, got.err
		} else {
			b.spare = got.data
		}
	}
	if b.data == nil {
		b.data, b.err = b.get(b.spare[:0], i)
		b.spare = nil
	}
	if b.err == io.EOF {
		b.err = io.ErrUnexpectedEOF
	}
	if (i+1)*b.block < b.length && b.err == nil {
		if lost, _ := b.gapAt((i + 1) * b.block); !lost {
			b.begin(i + 1)
		}
	}
	return b.err
}

func (b *blocks) begin(i int64) {
	dst := b.spare[:0]
	ahead := make(chan opened, 1)
	b.ahead, b.next, b.spare = ahead, i, nil
	go func() { // load and close wait for it
		data, err := b.get(dst, i)
		ahead <- opened{data, err}
	}()
}

func (b *blocks) finish() error { return nothingMore(b) }

func (b *blocks) close() {
	if b.ahead != nil {
		got := <-b.ahead
		clear(got.data)
		b.ahead = nil
	}
	clear(b.data[:cap(b.data)])
	clear(b.spare[:cap(b.spare)])
	b.data, b.spare, b.index, b.err = nil, nil, -1, seal.ErrClosed
	_ = b.closer.Close() // it was read only
}

// fromFile opens the blocks of an intact sealed file.
func fromFile(r *seal.ReaderAt) *blocks {
	size := int64(r.Header().FrameSize)
	if size == 0 {
		size = seal.MaxFrameSize
	}
	get := func(dst []byte, i int64) ([]byte, error) {
		n := min(size, r.Size()-i*size)
		if n <= 0 {
			return dst, io.EOF
		}
		if int64(cap(dst)) < n {
			dst = make([]byte, n, size)
		}
		dst = dst[:n]
		m, err := r.ReadAt(dst, i*size)
		if err == io.EOF && int64(m) == n {
			err = nil
		}
		return dst, err
	}
	return &blocks{get: get, closer: r, block: size, length: r.Size(), index: -1}
}

// fromRemains opens the blocks of a sealed file that may be damaged.
func fromRemains(s *seal.Salvage) *blocks {
	return &blocks{get: s.ReadBlock, closer: s, block: int64(s.BlockSize()), length: s.Size(), gaps: s.Lost(), index: -1}
}
