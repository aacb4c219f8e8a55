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
// Whichever way, only a sync makes it durable.
type output struct {
	file   *os.File
	direct bool    // pass by the page cache while possible
	set    bool    // the file has O_DIRECT
	buf    *[]byte // outputSize, aligned
	n      int     // bytes in buf
	sent   int64   // bytes written
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
			if err := o.send(outputSize); err != nil {
				return n, err
			}
		}
		m := copy((*o.buf)[o.n:], p[n:])
		o.n, n = o.n+m, n+m
	}
	return n, nil
}

// flush writes what is left.
func (o *output) flush() error {
	if whole := o.n &^ (directAlign - 1); o.direct && whole >= directMin {
		if err := o.send(whole); err != nil {
			return err
		}
	}
	o.direct = false
	return o.send(o.n)
}

// send writes the first n bytes of the buffer, which are whole blocks while
// direct is set.
func (o *output) send(n int) error {
	if n == 0 {
		return nil
	}
	if o.direct != o.set {
		if err := setDirect(o.file, o.direct); err != nil && o.direct {
			o.direct = false
		} else if err != nil {
			return err
		} else {
			o.set = o.direct
		}
	}
	_, err := o.file.WriteAt((*o.buf)[:n], o.sent)
	if o.set && errors.Is(err, unix.EINVAL) { // a device with larger blocks
		o.direct = false
		return o.send(n)
	}
	if err == nil && !o.set {
		err = writeback(o.file, o.sent, o.sent+int64(n))
	}
	if err != nil {
		return err
	}
	o.sent += int64(n)
	o.n = copy(*o.buf, (*o.buf)[n:o.n])
	return nil
}

// release gives the buffer back. Nothing can be written any more.
func (o *output) release() {
	outputs.Put(o.buf)
	o.buf = nil
}
