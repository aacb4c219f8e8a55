package server

import (
	"io"
	"net/http"
	"time"
)

// pace keeps the deadline of a body that moves. There is no bound on how long
// a large body may take, but each piece must come within stall, and in the
// long run at no less than rate bytes a second: a client that sends one byte
// just before each deadline would otherwise hold its place for ever. Only the
// time spent waiting for the client counts.
type pace struct {
	stall time.Duration
	rate  int64
	spent time.Duration // waiting for the client
	last  time.Time     // when the deadline was last moved
}

// before moves the deadline for the next piece, done bytes having moved so
// far, and returns the time. Moving it costs a timer, so it is moved at most
// eight times a stall.
func (p *pace) before(done int64, set func(time.Time)) time.Time {
	now := time.Now()
	if now.Sub(p.last) >= p.stall/8 {
		p.last = now
		earned := time.Duration(float64(done) / float64(p.rate) * float64(time.Second))
		set(now.Add(min(p.stall, p.stall+earned-p.spent)))
	}
	return now
}

func (p *pace) after(began time.Time) { p.spent += time.Since(began) }

// body is a request's body on its way in: bounded in length, kept moving, and
// remembering why it failed, so that the failure of a store can be told as
// what it was.
type body struct {
	x     *exchange
	src   io.Reader
	limit int64 // bytes; below zero: no bound
	err   error // why reading failed; nil after a clean end
}

func (x *exchange) newBody(limit int64) *body { return &body{x: x, src: x.r.Body, limit: limit} }

// Read reads on. At the end of the body the read deadline is taken away
// again: net/http watches the connection while the handler works, and would
// take a deadline that passes for a client that left.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.err = b.x.stillWelcome(); b.err != nil {
		return 0, b.err
	}
	began := b.x.reading.before(b.x.in, b.x.setReadDeadline)
	n, err := b.src.Read(p[:b.x.meter.most(len(p))])
	b.x.reading.after(began)
	b.x.in += int64(n)
	b.x.moved(n, b.x.setReadDeadline)
	if b.limit >= 0 && b.x.in > b.limit {
		b.err = bodyTooLarge.with("The server takes no larger bodies. Split the file or ask the operator to raise limits.body.")
		return 0, b.err
	}
	switch {
	case err == io.EOF:
		b.x.setReadDeadline(time.Time{})
	case err != nil:
		b.err = bodyProblem(err)
		err = b.err
	}
	return n, err
}

// bodyProblem tells a client that was too slow from one that went away.
func bodyProblem(err error) error {
	if isTimeout(err) {
		return slowClient.from(err, "Send the body without long pauses, or ask the operator to raise limits.slow_client.")
	}
	return incompleteBody.from(err, "Nothing was stored. Send the request again with its whole body.")
}

// What is read of a body that is not wanted any more, at most.
const (
	drainBytes = 8 << 20
	drainTime  = 5 * time.Second
)

// drain reads on for a while after a store has failed in the middle of its
// body, so that the client gets to hear why: a connection that is closed
// under a body that still comes is reset, and the reset takes the answer
// along. HTTP/2 has frames for that.
func (b *body) drain() {
	asks := b.x.in == 0 && b.x.r.Header.Get("Expect") != ""
	if b.err != nil || asks || b.x.r.ProtoMajor > 1 {
		return // over, not begun (the client awaits 100 Continue), or no need
	}
	b.x.setReadDeadline(time.Now().Add(drainTime))
	_, _ = io.CopyN(io.Discard, b.src, drainBytes) // best effort
	b.x.setReadDeadline(time.Time{})
}

// declaredTooLarge refuses a body by its Content-Length, before any of it is
// asked for.
func declaredTooLarge(r *http.Request, limit int64) bool {
	return limit >= 0 && r.ContentLength > limit
}
