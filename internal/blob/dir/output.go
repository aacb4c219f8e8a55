package dir

import (
	"errors"
	"os"
	"sync"
	"unsafe"

	"github.com/efs-project/efs/internal/directio"
	"golang.org/x/sys/unix"
)

const (
	// outputSize is how much of a blob is gathered before it is written.
	outputSize = 256 << 10
	// directMin is what is worth passing by the page cache. Less is copied
	// sooner than a transfer of its own is done.
	directMin = 128 << 10
	// directAlign suits every device: O_DIRECT wants memory, offset and length
	// in multiples of its logical block.
	directAlign = 4 << 10
)

// output writes the file of a new blob in large aligned pieces, past the page
// cache (open(2), O_DIRECT) where the volume does that well. So a store costs
// no copy into memory that the kernel must first find, no upload leaves behind
// what would delay the syncs of others, and what is written once does not push
// out what is read often. What is left at the end goes through the page cache.
// Whichever way, only a sync makes it durable.
//
// A large slice that lies in memory as it will lie in the file, as those of
// seal.Writer do, is written from where it is. Others are gathered, and one
// piece is written while the next is gathered.
type output struct {
	buf *[]byte // outputSize, aligned; filled by one goroutine
	n   int     // bytes in buf

	pace *pace

	pending chan error // of the piece that is being written; nil: none is
	// What follows is the writing goroutine's while pending is set.
	file   *os.File
	direct bool  // pass by the page cache while possible
	set    bool  // the file has O_DIRECT
	sent   int64 // bytes written
}

// outputs are the buffers of outputs. They hold sealed bytes only.
var outputs = sync.Pool{New: func() any {
	b := make([]byte, outputSize+directAlign)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (directAlign - 1)
	b = b[skip : skip+outputSize]
	return &b
}}

func newOutput(f *os.File, direct bool, p *pace) *output {
	return &output{file: f, direct: direct, pace: p, buf: outputs.Get().(*[]byte)}
}

// Write appends p. An error may concern what was appended before.
func (o *output) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if m := o.whole(p[n:]); m > 0 {
			if err := o.through(p[n:][:m]); err != nil {
				return n, err
			}
			n += m
			continue
		}
		if o.n == outputSize {
			if err := o.handOver(); err != nil {
				return n, err
			}
		}
		m := copy((*o.buf)[o.n:], p[n:])
		o.n, n = o.n+m, n+m
	}
	return n, nil
}

// whole returns how much of p can be written from where it is, up to the end of
// a block: as far as p lies on blocks as it will in the file, and is worth it.
func (o *output) whole(p []byte) int {
	address := int(uintptr(unsafe.Pointer(unsafe.SliceData(p))))
	if o.n >= directAlign || (address-o.n)&(directAlign-1) != 0 {
		return 0
	}
	if n := (o.n+len(p))&^(directAlign-1) - o.n; n >= directMin {
		return n
	}
	return 0
}

// through writes p, which whole has found fit, after the block that is begun.
func (o *output) through(p []byte) error {
	if err := o.wait(); err != nil {
		return err
	}
	if o.n == 0 {
		return o.send(p)
	}
	begun := (*o.buf)[:directAlign]
	p = p[copy(begun[o.n:], p):]
	o.n = 0
	return o.send(begun, p)
}

// handOver has the full buffer written by another goroutine and gets an empty
// one.
func (o *output) handOver() error {
	if err := o.wait(); err != nil {
		return err
	}
	full, done := o.buf, make(chan error, 1)
	o.buf, o.n, o.pending = outputs.Get().(*[]byte), 0, done
	go func() {
		err := o.send(*full)
		outputs.Put(full)
		done <- err
	}()
	return nil
}

// wait waits for what is being written.
func (o *output) wait() error {
	if o.pending == nil {
		return nil
	}
	err := <-o.pending
	o.pending = nil
	return err
}

// flush writes what is left and returns when all is written. Nothing can be
// appended then.
func (o *output) flush() error {
	if err := o.wait(); err != nil {
		return err
	}
	rest := (*o.buf)[:o.n]
	if whole := o.n &^ (directAlign - 1); o.direct && whole >= directMin {
		if err := o.send(rest[:whole]); err != nil {
			return err
		}
		rest = rest[whole:]
	}
	if o.direct = false; len(rest) == 0 {
		return nil
	}
	return o.send(rest)
}

// send writes pieces, each of which begins on a block and, while direct is set,
// is made of whole ones.
func (o *output) send(pieces ...[]byte) error {
	if o.direct != o.set {
		switch err := directio.Set(o.file, o.direct); {
		case err == nil:
			o.set = o.direct
		case o.direct:
			o.direct = false // the volume does not know it
		default:
			return err
		}
	}
	n, err := writeAll(o.file, pieces, o.sent)
	if o.set && errors.Is(err, unix.EINVAL) { // a device with larger blocks
		o.direct = false
		return o.send(pieces...)
	}
	switch {
	case err != nil:
	case o.set:
		err = o.pace.wrote(o.file, n)
	default:
		err = writeback(o.file, o.sent, o.sent+n)
	}
	o.sent += n
	return err
}

// writeAll writes pieces one after the other from offset on, and returns how
// many bytes that were.
func writeAll(f *os.File, pieces [][]byte, offset int64) (written int64, err error) {
	begun, err := writev(f, pieces, offset)
	if err != nil {
		return 0, err
	}
	for _, p := range pieces {
		if skip := min(begun, len(p)); skip > 0 {
			p, begun, written = p[skip:], begun-skip, written+int64(skip)
		}
		if len(p) == 0 {
			continue
		}
		n, err := f.WriteAt(p, offset+written)
		if written += int64(n); err != nil {
			return written, err
		}
	}
	return written, nil
}

// release gives the buffer back once nothing is being written any more.
func (o *output) release() {
	_ = o.wait() // asked for by flush, if by anybody
	outputs.Put(o.buf)
	o.buf = nil
}
