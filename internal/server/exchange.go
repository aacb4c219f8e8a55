package server

import (
	"net/http"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/tracing"
)

// exchange is one request and its answer on their way through the server: the
// ResponseWriter that handlers write to, and what the log and the metrics
// will say about it. The request id is set before anything can fail.
type exchange struct {
	http.ResponseWriter
	r     *http.Request
	s     *Server
	l     *Listener
	id    string
	start time.Time

	route route
	who   identity // set by authentication

	fs     *fsys.FS       // that the request is for; nil if there is none, or nothing is permitted there
	fsName string         // its name
	rights *access.Rights // in it

	object  efs.ID // file id that the request came to concern; zero: none
	problem string // name of the problem that was answered, for the log
	status  int    // 0 until the status line is committed
	out     int64  // bytes of the answer's body
	in      int64  // bytes of the request's body
	follows bool   // a change feed that waits: not work to be waited for

	span   tracing.Span // zero: not traced, or not yet
	traced bool         // and ended

	reading, writing pace
	meter            *limiter // of the user's bandwidth; nil: none
	judgedAt         uint64   // Server.generation when the caller was judged

	auditing

	values [12]string // of the answer's headers, each sliced out
	used   int        // of values
}

// set sets a header of the answer, whose name must be in the form that
// net/http keeps. An answer has a dozen; this spares an allocation for each.
func (x *exchange) set(name, value string) {
	if x.used == len(x.values) {
		x.Header()[name] = []string{value}
		return
	}
	x.values[x.used] = value
	x.used++
	x.Header()[name] = x.values[x.used-1 : x.used : x.used]
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// WriteHeader commits the status.
func (x *exchange) WriteHeader(status int) {
	if x.void {
		return
	}
	if x.status == 0 && status >= 200 {
		if !x.commitAudit(status) {
			return
		}
		x.status = status
		x.armWriting()
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write sends a piece of the body. A client that takes nothing for
// Limits.SlowClient, or less than Limits.MinRate in the long run, is cut off;
// so is one whose certificate or user has been revoked meanwhile.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	if x.void {
		return len(b), nil // another answer has been given
	}
	if err := x.stillWelcome(); err != nil {
		return 0, err
	}
	if x.follows { // a feed has deadlines of its own, and no rate
		n, err := x.ResponseWriter.Write(b)
		x.out += int64(n)
		return n, err
	}
	if x.meter == nil {
		return x.write(b)
	}
	for total := 0; ; {
		n, err := x.write(b[:x.meter.most(len(b))])
		x.moved(n, x.setWriteDeadline)
		b, total = b[n:], total+n
		if err == nil && len(b) > 0 {
			err = x.stillWelcome()
		}
		if err != nil || len(b) == 0 {
			return total, err
		}
	}
}

// write sends one piece.
func (x *exchange) write(b []byte) (int, error) {
	began := x.writing.before(x.out, x.setWriteDeadline)
	n, err := x.ResponseWriter.Write(b)
	x.writing.after(began)
	x.out += int64(n)
	return n, err
}

// armReading bounds the wait for a body, also for one that no handler reads:
// net/http reads a little of it away before it answers.
func (x *exchange) armReading() {
	x.reading = pace{stall: x.s.limits.SlowClient, rate: x.s.limits.MinRate}
	x.writing = x.reading
	if x.r.ProtoMajor == 1 {
		x.writing.last = x.start // HTTP/1 has a deadline for writing from the start
	}
	if x.r.ContentLength != 0 {
		x.reading.before(0, x.setReadDeadline)
	}
	if x.r.ProtoMajor > 1 {
		// net/http resets an HTTP/2 stream when WriteTimeout passes, even
		// while the body is still coming or the file is being synced.
		x.setWriteDeadline(time.Time{})
	}
}

// armWriting bounds the wait for the client to take the answer. HTTP/1 has
// the deadline that net/http set when the request came; it is renewed if
// reading the body has used much of it up.
func (x *exchange) armWriting() {
	now := time.Now()
	if x.r.ProtoMajor > 1 || now.Sub(x.start) > x.s.limits.SlowClient/4 {
		x.setWriteDeadline(now.Add(x.s.limits.SlowClient))
		x.writing.last = now
	}
}

func (x *exchange) setWriteDeadline(t time.Time) {
	// ErrNotSupported comes from test recorders alone; a connection that is
	// gone fails at the write that follows.
	_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(t)
}

func (x *exchange) setReadDeadline(t time.Time) {
	_ = http.NewResponseController(x.ResponseWriter).SetReadDeadline(t)
}

// watchPeer makes the request's context end when the client leaves. net/http
// does so for every request; over HTTP/1.1 it is asked for, by what may last
// without reading or writing.
func (x *exchange) watchPeer() {
	if w, ok := x.ResponseWriter.(interface{ WatchPeer() }); ok {
		w.WatchPeer()
	}
}

// abort ends the answer so that no client takes it for whole: HTTP/1.1 loses
// its connection before the declared length, HTTP/2 sees the stream reset.
func abort() { panic(http.ErrAbortHandler) }
