package http1

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// The states of a connection. Only a waiting one may be closed by stop.
const (
	waiting int32 = iota // for the first byte of a request
	busy                 // with one
	stopped
)

// stream is what a *tls.Conn does for us.
type stream interface {
	net.Conn
	CloseWrite() error
	NetConn() net.Conn
}

// conn is one connection and the request that it is at. All of it but state
// belongs to the goroutine in serve, or to the handler it calls.
type conn struct {
	s      *Server
	tls    stream
	wire   *Wire           // below it; nil where there is none
	ctx    context.Context // of requests
	cancel context.CancelFunc
	info   tls.ConnectionState
	remote string
	state  atomic.Int32

	buf  []byte // what was read: buf[r:w] has not been taken yet
	r, w int

	out *[]byte // the answer as far as it is not written yet; nil between requests

	readBy, writeBy time.Time // the deadlines that are set

	blank    *http.Request // every request begins as a copy of it: it has the context
	req      http.Request
	values   [48]string // of the request's headers, each sliced out
	url      url.URL
	body     *body // nil: the request has none
	answer   response
	watching chan error // of WatchPeer; nil when nobody reads ahead
}

// Between requests a connection keeps smallBuffer bytes; an answer is
// collected in outBuffer bytes, which hold a small file and its headers, and are
// what fits a TLS record.
const (
	smallBuffer = 4 << 10
	outBuffer   = 16 << 10
)

// chunkSlack is room for what frames a chunk at the end of a full buffer.
const chunkSlack = 64

// How many headers a map has room for at first, and may have held to be used
// again.
const (
	fewHeaders  = 16
	manyHeaders = 128
)

var outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, outBuffer+chunkSlack); return &b }}

func newConn(ctx context.Context, s *Server, c stream, info tls.ConnectionState) *conn {
	k := &conn{s: s, tls: c, info: info, remote: c.RemoteAddr().String(), buf: make([]byte, smallBuffer)}
	k.wire, _ = c.NetConn().(*Wire)
	k.ctx, k.cancel = context.WithCancel(ctx)
	k.blank = new(http.Request).WithContext(k.ctx)
	k.req.Header = make(http.Header, fewHeaders)
	k.answer.header = make(http.Header, fewHeaders)
	return k
}

// serve answers one request after the other.
func (k *conn) serve() {
	defer k.cut()
	wait := k.s.HeaderTimeout // nobody keeps a connection by saying nothing from the start
	for k.await(wait) {
		head, err := k.readHead()
		if err != nil {
			k.refuse(err)
			return
		}
		if err := k.parse(head); err != nil {
			k.refuse(err)
			return
		}
		if !k.exchange() {
			return
		}
		if !k.state.CompareAndSwap(busy, waiting) {
			k.leave() // stopped since the answer was begun
			return
		}
		wait = k.s.IdleTimeout
	}
}

// stop closes the connection if it waits; if it is busy, it ends after the
// answer.
func (k *conn) stop() {
	if k.state.Swap(stopped) == waiting {
		k.cut()
	}
}

// cut closes the connection at once.
func (k *conn) cut() {
	_ = k.tls.NetConn().Close() // it is being cut: how it takes that is no matter
	k.cancel()                  // after that, so that no handler ends an answer by it
}

// end closes the connection in good order.
func (k *conn) end() {
	_ = k.tls.SetWriteDeadline(time.Now().Add(linger))
	_ = k.tls.CloseWrite()
}

// await waits for the first byte of the next request.
func (k *conn) await(timeout time.Duration) bool {
	if k.r == k.w {
		k.settle()
		if k.readUntil(timeout) != nil || k.fill() != nil {
			if k.state.CompareAndSwap(waiting, stopped) {
				k.end()
			}
			return false
		}
	}
	return k.state.CompareAndSwap(waiting, busy)
}

// settle brings the read buffer back to the size it has between requests.
func (k *conn) settle() {
	k.r, k.w = 0, 0
	if len(k.buf) > smallBuffer {
		k.buf = make([]byte, smallBuffer)
	}
}

// Moving a deadline costs about as much as parsing a request, so those that
// are renewed with each request may be up to an eighth early.
func nearly(set, now time.Time, timeout time.Duration) bool {
	left := set.Sub(now)
	return left > timeout-timeout/8 && left <= timeout
}

func (k *conn) readUntil(timeout time.Duration) error {
	now := time.Now()
	if nearly(k.readBy, now, timeout) {
		return nil
	}
	return k.setReadDeadline(now.Add(timeout))
}

func (k *conn) setReadDeadline(t time.Time) error {
	k.readBy = t
	return k.tls.SetReadDeadline(t)
}

func (k *conn) setWriteDeadline(t time.Time) error {
	k.writeBy = t
	return k.tls.SetWriteDeadline(t)
}

// fill reads once into the free part of the buffer.
func (k *conn) fill() error {
	n, err := k.tls.Read(k.buf[k.w:])
	k.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// refusal is a request that is not answered by the handler.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

var (
	errTooLarge = &refusal{http.StatusRequestHeaderFieldsTooLarge, "the head of the request is too large"}
	crlf2       = []byte("\r\n\r\n")
)

// readHead returns the head of the next request, without the empty line.
func (k *conn) readHead() (string, error) {
	for seen, first := 0, true; ; first = false {
		if i := bytes.Index(k.buf[k.r+seen:k.w], crlf2); i >= 0 {
			end := k.r + seen + i
			head := string(k.buf[k.r:end])
			k.r = end + len(crlf2)
			if len(head) > k.s.MaxHeader {
				return "", errTooLarge
			}
			return head, nil
		}
		if first { // most heads come in one piece
			if err := k.setReadDeadline(time.Now().Add(k.s.HeaderTimeout)); err != nil {
				return "", err
			}
		}
		if k.w-k.r > k.s.MaxHeader {
			return "", errTooLarge
		}
		seen = max(0, k.w-k.r-len(crlf2)+1)
		k.makeRoom()
		if err := k.fill(); err != nil {
			return "", err
		}
	}
}

// makeRoom leaves free space behind what was read.
func (k *conn) makeRoom() {
	switch {
	case k.w < len(k.buf):
	case k.r > 0:
		k.w = copy(k.buf, k.buf[k.r:k.w])
		k.r = 0
	default:
		k.buf = append(k.buf, make([]byte, len(k.buf))...)
	}
}

// refuse answers what is not a request, and ends the connection: where the
// next request would begin is unknown. A client that left or was too slow gets
// no answer.
func (k *conn) refuse(err error) {
	var r *refusal
	if !errors.As(err, &r) {
		return
	}
	status := http.StatusText(r.status)
	line := "HTTP/1.1 " + itoa(r.status) + " " + status
	_ = k.setWriteDeadline(time.Now().Add(linger)) // a peer that does not listen is not waited for
	if _, err := k.tls.Write([]byte(line + "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" +
		itoa(r.status) + " " + status + ": " + r.text + "\n")); err == nil {
		k.leave()
	}
}

// leave ends the sending side and gives the client time to read what was sent
// before the connection is closed.
func (k *conn) leave() {
	k.end()
	_ = k.tls.SetReadDeadline(time.Now().Add(linger))
	_, _ = io.Copy(io.Discard, k.tls.NetConn()) // what it still sends, until it has closed or the time is up
}

// exchange lets the handler answer the request, and reports whether another
// may follow on this connection.
func (k *conn) exchange() bool {
	now := time.Now()
	if !nearly(k.writeBy, now, k.s.WriteTimeout) && k.setWriteDeadline(now.Add(k.s.WriteTimeout)) != nil {
		return false
	}
	k.out = outBuffers.Get().(*[]byte)
	k.answer.begin(k, now)
	done := k.handle()
	keep := done && k.answer.finish() == nil
	k.unwatch()
	lingering := done && !k.body.whole()
	*k.out = (*k.out)[:0]
	outBuffers.Put(k.out)
	k.out = nil
	k.forget()
	switch {
	case keep && !k.answer.close:
		return true
	case keep && (lingering || !k.req.Close): // more may be on its way
		k.leave()
	case keep:
		k.end()
	}
	return false
}

// forget empties what the next request will use again, so that nothing of this
// one lives on.
func (k *conn) forget() {
	if k.body != nil {
		k.body.end()
		k.body = nil
	}
	clear(k.values[:])
	k.answer.header = emptied(k.answer.header)
	k.req.Header = emptied(k.req.Header)
}

func emptied(h http.Header) http.Header {
	if len(h) > manyHeaders { // a map does not shrink
		return make(http.Header, fewHeaders)
	}
	clear(h)
	return h
}

// handle calls the handler. It is false when the handler panicked: the answer
// must then not look whole. What of it is ready is sent, so that the client
// sees that there was one.
func (k *conn) handle() (ok bool) {
	defer func() {
		if ok {
			return
		}
		if p := recover(); p != http.ErrAbortHandler {
			k.s.Logger.Error("handler panicked", "panic", p, "stack", string(debug.Stack()))
		}
		if k.answer.framed && k.answer.flush() == nil {
			k.breakOff()
		}
	}()
	k.s.Handler.ServeHTTP(&k.answer, &k.req)
	return true
}

// breakOff ends the TLS stream in the middle of a record. Clients take a stream
// that just ends for one that ended in good order, and an answer that lasts to
// the end of the connection, as in HTTP/1.0, for whole (RFC 9112, 8).
func (k *conn) breakOff() {
	_, _ = k.tls.NetConn().Write([]byte{23, 3, 3, 0x40, 0}) // the head of a record of 16 KiB
}

// watch reads ahead while the handler works, to learn when the client leaves.
// There is no body then, so that what comes is the next request.
func (k *conn) watch() {
	if k.watching != nil || k.w == len(k.buf) || !k.body.whole() {
		return
	}
	if k.setReadDeadline(time.Time{}) != nil {
		return
	}
	k.watching = make(chan error, 1)
	go func() {
		err := k.fill()
		if err != nil && !timedOut(err) {
			k.cancel()
		}
		k.watching <- err
	}()
}

// unwatch ends watch.
func (k *conn) unwatch() {
	if k.watching == nil {
		return
	}
	_ = k.setReadDeadline(time.Unix(1, 0)) // wakes the reader; a connection that is gone has woken it
	<-k.watching
	k.watching = nil
}

func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
