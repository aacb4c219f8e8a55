package server

import (
	"net/http"
	"time"

	"github.com/efs-project/efs"
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

	route   route
	who     identity // set by authentication
	object  efs.ID   // file id that the request came to concern; zero: none
	problem string   // name of the problem that was answered, for the log
	status  int      // 0 until the status line is committed
	out     int64    // bytes of the answer's body
	in      int64    // bytes of the request's body
	follows bool     // a change feed that waits: not work to be waited for

	writeDeadline pace
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// WriteHeader commits the status.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 {
		x.status = status
		x.allowTimeToWrite()
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
	if err := x.stillWelcome(); err != nil {
		return 0, err
	}
	x.writeDeadline.passed(x.out, x.setWriteDeadline)
	n, err := x.ResponseWriter.Write(b)
	x.out += int64(n)
	return n, err
}

// allowTimeToWrite renews the deadline that net/http set when the request
// came, if reading the body has used much of it up.
func (x *exchange) allowTimeToWrite() {
	if time.Since(x.start) > x.s.limits.SlowClient/4 {
		x.setWriteDeadline(time.Now().Add(x.s.limits.SlowClient))
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

// abort ends the answer so that no client takes it for whole: HTTP/1.1 loses
// its connection before the declared length, HTTP/2 sees the stream reset.
func abort() { panic(http.ErrAbortHandler) }
