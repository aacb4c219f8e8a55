package http1

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// response is the http.ResponseWriter of one request.
type response struct {
	k       *conn
	now     time.Time
	header  http.Header
	status  int   // 0 until WriteHeader
	length  int64 // of the body as declared; -1: not declared
	written int64
	framed  bool // the head is in the buffer, complete
	chunked bool
	close   bool // the connection ends with this answer
	err     error
}

func (w *response) begin(k *conn, now time.Time) {
	*w = response{k: k, now: now, header: w.header, length: -1, close: k.req.Close}
}

// Header returns the headers of the answer.
func (w *response) Header() http.Header { return w.header }

// WriteHeader begins the answer. Informational ones are not sent.
func (w *response) WriteHeader(status int) {
	if w.status != 0 || status < 200 {
		return
	}
	w.status = status
	if v := w.header["Content-Length"]; len(v) == 1 {
		if n, ok := parseLength(v[0]); ok {
			w.length = n
		}
	}
	b := *w.k.out
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\nDate: "...)
	b = append(b, date(w.now)...)
	b = append(b, "\r\n"...)
	for name, values := range w.header {
		switch name {
		case "Content-Length", "Transfer-Encoding", "Date":
			continue // said where the body's length is known; said by nobody else; said above
		case "Connection":
			w.close = w.close || hasToken(values, "close")
			continue
		}
		if isToken(name) {
			for _, v := range values {
				b = appendField(b, name, v)
			}
		}
	}
	*w.k.out = b
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	if isFieldValue(value) {
		b = append(b, value...)
	} else { // no handler of ours writes such; none may end a line by it
		b = append(b, strings.Map(visible, value)...)
	}
	return append(b, "\r\n"...)
}

func visible(c rune) rune {
	if c < ' ' && c != '\t' || c == 0x7f {
		return ' '
	}
	return c
}

// frame completes the head: how the body ends, and whether the connection does
// (RFC 9112, 6.3 and 9.3). A body that nobody read is dealt with before, since
// that decides whether the connection can go on.
func (w *response) frame() {
	w.framed = true
	if !w.k.body.drain() || w.k.state.Load() == stopped {
		w.close = true
	}
	b := *w.k.out
	switch {
	case w.length >= 0 && w.status != http.StatusNoContent:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, w.length, 10)
		b = append(b, "\r\n"...)
	case !w.hasBody():
	case w.k.req.ProtoMinor == 0:
		w.close = true // the end of the connection is the end of the body
	default:
		w.chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if w.close {
		b = append(b, "Connection: close\r\n"...)
	}
	*w.k.out = append(b, "\r\n"...)
}

// hasBody reports whether an answer of this status to this method has one.
func (w *response) hasBody() bool {
	return w.k.req.Method != http.MethodHead && w.status != http.StatusNoContent && w.status != http.StatusNotModified
}

// Write sends a piece of the body, or keeps it until more has come.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.framed {
		w.frame()
	}
	switch {
	case w.err != nil:
		return 0, w.err
	case !w.hasBody():
		if w.k.req.Method == http.MethodHead {
			return len(p), nil
		}
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+int64(len(p)) > w.length:
		return 0, http.ErrContentLength
	case len(p) == 0:
		return 0, nil
	}
	w.written += int64(len(p))
	if !w.chunked {
		return len(p), w.put(p)
	}
	*w.k.out = append(strconv.AppendInt(*w.k.out, int64(len(p)), 16), "\r\n"...)
	err := w.put(p)
	*w.k.out = append(*w.k.out, "\r\n"...)
	return len(p), err
}

// put adds p to the buffer. What does not fit is written in whole records; what
// is left of it stays in the buffer for what comes next.
func (w *response) put(p []byte) error {
	b := *w.k.out
	if len(b)+len(p) <= outBuffer {
		*w.k.out = append(b, p...)
		return nil
	}
	if len(b) > 0 {
		room := min(max(0, outBuffer-len(b)), len(p)) // a long head is more than the buffer
		*w.k.out = append(b, p[:room]...)
		p = p[room:]
	}
	whole := len(p) / outBuffer * outBuffer
	held := whole > 0 && w.k.wire != nil
	if held {
		w.k.wire.hold()
	}
	if w.flush() == nil && whole > 0 {
		_, err := w.k.tls.Write(p[:whole])
		w.failed(err)
	}
	if held {
		w.failed(w.k.wire.release())
	}
	*w.k.out = append(*w.k.out, p[whole:]...)
	return w.err
}

// failed keeps the first error of the connection.
func (w *response) failed(err error) {
	if w.err == nil {
		w.err = err
	}
}

// flush writes what is in the buffer.
func (w *response) flush() error {
	if w.err == nil && len(*w.k.out) > 0 {
		_, w.err = w.k.tls.Write(*w.k.out)
		*w.k.out = (*w.k.out)[:0]
	}
	return w.err
}

// sendContinue tells a client that its body is wanted, unless the answer is
// under way.
func (w *response) sendContinue() error {
	if w.status != 0 {
		return nil
	}
	_, err := w.k.tls.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	return err
}

// finish ends the answer. An error means that it is not whole.
func (w *response) finish() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.framed {
		if w.length < 0 && w.hasBody() {
			w.length = 0
		}
		w.frame()
	}
	if w.chunked {
		*w.k.out = append(*w.k.out, "0\r\n\r\n"...)
	}
	if err := w.flush(); err != nil {
		return err
	}
	if w.hasBody() && w.length > w.written {
		return http.ErrContentLength
	}
	return nil
}

// FlushError writes out what the handler has written so far.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.framed {
		w.frame()
	}
	return w.flush()
}

// Flush is FlushError without the error.
func (w *response) Flush() { _ = w.FlushError() }

// SetReadDeadline bounds the reading of the body.
func (w *response) SetReadDeadline(t time.Time) error { return w.k.setReadDeadline(t) }

// SetWriteDeadline bounds the writing of the answer.
func (w *response) SetWriteDeadline(t time.Time) error { return w.k.setWriteDeadline(t) }

// WatchPeer makes the request's context end when the client leaves, from now
// until the handler returns. It does nothing before the body has been read.
func (w *response) WatchPeer() { w.k.watch() }

func itoa(n int) string { return strconv.Itoa(n) }

// datedSecond is a second and the Date header of it.
type datedSecond struct {
	unix int64
	text string
}

var lastDate atomic.Pointer[datedSecond]

// date returns the Date header's value for a time. It is made once a second.
func date(now time.Time) string {
	unix := now.Unix()
	if d := lastDate.Load(); d != nil && d.unix == unix {
		return d.text
	}
	d := &datedSecond{unix, now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}
