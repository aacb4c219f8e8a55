package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// conn is one client: one TLS connection on which HTTP/1.1 requests follow
// each other. It is the same for every target and does no more than is needed
// to know what a server answered, since it shares the cores with the server.
type conn struct {
	t    Target
	tls  *tls.Conn
	wire *wire
	in   *bufio.Reader
	head []byte
	buf  []byte
	mu   sync.Mutex // guards wire against Close while it is replaced
}

// request is what a client asks for.
type request struct {
	method string
	key    string
	object int64 // whose bytes are sent or expected
	size   int64 // of the object
	offset int64 // of the range that is asked for
	length int64 // of the range; 0: the whole object
	check  bool  // compare all bytes, not a sample of them
}

// dial connects and shakes hands; deadline bounds everything the client does.
func dial(ctx context.Context, t Target, deadline time.Time) (*conn, error) {
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", t.Addr())
	if err != nil {
		return nil, err
	}
	if err := tcp.SetDeadline(deadline); err != nil {
		tcp.Close()
		return nil, err
	}
	w := newWire(tcp)
	cfg := t.TLS().Clone()
	cfg.ServerName, cfg.NextProtos, cfg.DynamicRecordSizingDisabled = "localhost", []string{"http/1.1"}, true
	c := tls.Client(w, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		tcp.Close()
		return nil, fmt.Errorf("%s: TLS: %w", t.Name(), err)
	}
	return &conn{t: t, tls: c, wire: w, in: bufio.NewReaderSize(c, 16<<10), buf: make([]byte, patternPiece)}, nil
}

// Close ends the connection, and with it what is under way on it.
func (c *conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wire.Conn.Close()
}

// redial replaces the connection by a new one.
func (c *conn) redial(ctx context.Context) error {
	c.Close()
	again, err := dial(ctx, c.t, time.Now().Add(patience))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tls, c.wire, c.in = again.tls, again.wire, again.in
	return nil
}

// do sends r and reads the whole answer. Nothing but what the target answers
// to a request that it has done is no error.
func (c *conn) do(r request) error {
	if err := c.do1(r); err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.key, err)
	}
	return nil
}

func (c *conn) do1(r request) error {
	c.head = c.t.AppendHead(c.head[:0], r.method, r.key)
	want := http.StatusOK
	switch {
	case r.method == http.MethodPut:
		want = c.t.Stored()
		c.head = append(c.head, "Content-Length: "...)
		c.head = strconv.AppendInt(c.head, r.size, 10)
		c.head = append(c.head, "\r\n"...)
	case r.length > 0:
		want = http.StatusPartialContent
		c.head = append(c.head, "Range: bytes="...)
		c.head = strconv.AppendInt(c.head, r.offset, 10)
		c.head = append(c.head, '-')
		c.head = strconv.AppendInt(c.head, r.offset+r.length-1, 10)
		c.head = append(c.head, "\r\n"...)
	case r.method == http.MethodDelete:
		want = http.StatusNoContent
	}
	c.head = append(c.head, "\r\n"...)
	if err := c.send(r); err != nil {
		return c.refusal(err)
	}
	a, err := c.answer(c.t.Proof(r.method))
	if err != nil {
		return err
	}
	if a.status != want {
		return c.unexpected(a, want)
	}
	if !a.proved {
		return fmt.Errorf("%d without the header %q", a.status, c.t.Proof(r.method))
	}
	if r.method != http.MethodGet {
		_, err := c.in.Discard(int(a.length))
		return err
	}
	return c.receive(r, a)
}

// send writes head and body.
func (c *conn) send(r request) error {
	if r.method != http.MethodPut {
		if _, err := c.tls.Write(c.head); err != nil {
			return err
		}
		return c.wire.Flush()
	}
	// The head travels in the body's first record.
	first := int(min(r.size, 16<<10-int64(len(c.head))))
	c.head = append(c.head, piece(r.object, 0, first)...)
	if _, err := c.tls.Write(c.head); err != nil {
		return err
	}
	for at := int64(first); at < r.size; {
		n := int(min(r.size-at, patternPiece))
		if _, err := c.tls.Write(piece(r.object, at, n)); err != nil {
			return err
		}
		at += int64(n)
	}
	return c.wire.Flush()
}

// refusal prefers what the server said before it hung up.
func (c *conn) refusal(err error) error {
	if a, e := c.answer(""); e == nil && a.status/100 != 2 {
		return c.unexpected(a, http.StatusOK)
	}
	return err
}

func (c *conn) unexpected(a answer, want int) error {
	text := make([]byte, min(a.length, 512))
	n, _ := io.ReadFull(c.in, text) // what there is of it
	return fmt.Errorf("answered %d, not %d: %s", a.status, want, text[:n])
}

// receive reads the body of a read and compares a sample of it.
func (c *conn) receive(r request, a answer) error {
	length := r.length
	if length == 0 {
		length = r.size
	}
	if a.length != length {
		return fmt.Errorf("%d bytes instead of %d", a.length, length)
	}
	for at := int64(0); at < length; {
		n, err := c.in.Read(c.buf[:min(int64(len(c.buf)), length-at)])
		if n > 0 && (r.check || sampled()) {
			if err := compare(r.object, r.offset+at, c.buf[:n]); err != nil {
				return err
			}
		}
		if at += int64(n); err != nil && at < length {
			return fmt.Errorf("after %d of %d bytes: %w", at, length, err)
		}
	}
	return nil
}

// answer is what a client must know of a response's head.
type answer struct {
	status int
	length int64
	proved bool // the header that was asked for is there
}

var errAnswer = errors.New("the answer is not understood")

// answer reads a head. proof is a header, in any case, that must be in it; ""
// stands for none.
func (c *conn) answer(proof string) (answer, error) {
	a := answer{length: -1, proved: proof == ""}
	line, err := c.line()
	if err != nil {
		return a, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return a, fmt.Errorf("%w: %q", errAnswer, line)
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, fmt.Errorf("%w: %q", errAnswer, line)
	}
	for {
		if line, err = c.line(); err != nil {
			return a, err
		}
		if len(line) == 0 {
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return a, fmt.Errorf("%w: %q", errAnswer, line)
		}
		name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
		switch {
		case is(name, "content-length"):
			if a.length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return a, fmt.Errorf("%w: %q", errAnswer, line)
			}
		case is(name, "transfer-encoding"):
			return a, fmt.Errorf("%w: a body of unknown length", errAnswer)
		case !a.proved && is(name, proof):
			a.proved = len(value) > 0
		}
	}
	if a.status == http.StatusNoContent {
		a.length = 0
	}
	if a.length < 0 {
		return a, fmt.Errorf("%w: status %d without Content-Length", errAnswer, a.status)
	}
	return a, nil
}

// line returns the next line without its end; it is valid until the next read.
func (c *conn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// is compares a header's name in any case with one in lower case.
func is(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		if b != lower[i] {
			return false
		}
	}
	return true
}

// suite names what was negotiated.
func (c *conn) suite() string {
	s := c.tls.ConnectionState()
	return tls.VersionName(s.Version) + " " + tls.CipherSuiteName(s.CipherSuite)
}
