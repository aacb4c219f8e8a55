package main

import (
	"bufio"
	"io"
	"net"
)

// wire is a TCP connection that gathers what TLS writes and reads ahead of
// what TLS asks for, so that a run of 16 KiB records costs one system call.
type wire struct {
	net.Conn
	in  *bufio.Reader
	out []byte
}

const wireBuffer = 128 << 10

func newWire(c net.Conn) *wire {
	return &wire{Conn: c, in: bufio.NewReaderSize(c, wireBuffer), out: make([]byte, 0, wireBuffer)}
}

// Write keeps b until there is enough; Flush sends the rest.
func (w *wire) Write(b []byte) (int, error) {
	if len(w.out)+len(b) > cap(w.out) {
		if err := w.Flush(); err != nil {
			return 0, err
		}
	}
	if len(b) > cap(w.out) {
		return w.Conn.Write(b)
	}
	w.out = append(w.out, b...)
	return len(b), nil
}

// Flush sends what was kept.
func (w *wire) Flush() error {
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.Conn.Write(w.out)
	w.out = w.out[:0]
	return err
}

// Read sends what was kept first: who waits for an answer has asked.
func (w *wire) Read(b []byte) (int, error) {
	if err := w.Flush(); err != nil {
		return 0, err
	}
	return w.in.Read(b)
}

var _ io.ReadWriter = (*wire)(nil)
