package http1

import (
	"net"
	"sync"
)

// wireBuffer is how much is collected between TLS and the socket, bytes.
const wireBuffer = 128 << 10

var wireBuffers = sync.Pool{New: func() any { b := make([]byte, 0, wireBuffer); return &b }}

// Wire goes between a TLS connection and its socket. crypto/tls writes each
// record of 16 KiB by a system call of its own, and each wakes the reader; a
// Wire makes one of eight while a large body is sent, and does nothing
// otherwise.
type Wire struct {
	net.Conn

	mu  sync.Mutex // TLS may answer what it reads while something is written
	out *[]byte    // records held back; nil: none are
}

// NewWire returns a Wire over c, to be given to tls.Server.
func NewWire(c net.Conn) *Wire { return &Wire{Conn: c} }

// NetConn returns the connection below.
func (w *Wire) NetConn() net.Conn { return w.Conn }

// hold collects what is written until release.
func (w *Wire) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = wireBuffers.Get().(*[]byte)
}

// release writes what was collected.
func (w *Wire) release() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.flush()
	wireBuffers.Put(w.out)
	w.out = nil
	return err
}

func (w *Wire) flush() error {
	b := *w.out
	*w.out = b[:0]
	if len(b) == 0 {
		return nil
	}
	_, err := w.Conn.Write(b)
	return err
}

// Write writes p, or holds it back.
func (w *Wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out == nil {
		return w.Conn.Write(p)
	}
	if len(*w.out)+len(p) > wireBuffer {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	*w.out = append(*w.out, p...)
	return len(p), nil
}
