package dir

import (
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// outputSize is how much of a blob is gathered before it is written.
	outputSize = 1 << 20
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
// One piece is written while the next is gathered. Whichever way, only a sync
// makes it durable.
type output struct {
	buf *[]byte // outputSize, aligned; filled by one goroutine
	n   int     // bytes in buf

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

func newOutput(f *os.File, direct bool) *output {
	return &output{file: f, direct: direct, buf: outputs.Get().(*[]byte)}
}

// Write appends p. An error may concern what was appended before.
func (o *output) Write(p []byte) (n int, err error) {
	for n < len(p) {
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
	o.direct = false
	return o.send(rest)
}

// send writes p, which begins on a block and, while direct is set, is made of
// whole ones.
func (o *output) send(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if o.direct != o.set {
		switch err := setDirect(o.file, o.direct); {
		case err == nil:
			o.set = o.direct
		case o.direct:
			o.direct = false // the volume does not know it
		default:
			return err
		}
	}
	_, err := o.file.WriteAt(p, o.sent)
	if o.set && errors.Is(err, unix.EINVAL) { // a device with larger blocks
		o.direct = false
		return o.send(p)
	}
	if err == nil && !o.set {
		err = writeback(o.file, o.sent, o.sent+int64(len(p)))
	}
	o.sent += int64(len(p))
	return err
}

// release gives the buffer back once nothing is being written any more.
func (o *output) release() {
	_ = o.wait() // asked for by flush, if by anybody
	outputs.Put(o.buf)
	o.buf = nil
}
