package server

import (
	"io"
	"net/http"
	"time"
)

// pace keeps the deadline of a body that moves. There is no bound on how long
// a large body may take, but each piece must come within stall, and in the
// long run at no less than rate bytes a second: a client that sends one byte
// just before each deadline would otherwise hold its place for ever.
type pace struct {
	stall time.Duration
	rate  int64
	start time.Time
	last  time.Time // when the deadline was last moved
}

// passed moves the deadline before the next piece, done bytes having moved so
// far. Moving it costs a timer, so it is moved at most eight times a stall.
func (p *pace) passed(done int64, set func(time.Time)) {
	now := time.Now()
	if p.start.IsZero() {
		p.start = now
	} else if now.Sub(p.last) < p.stall/8 {
		return
	}
	p.last = now
	set(p.deadline(now, done))
}

func (p *pace) deadline(now time.Time, done int64) time.Time {
	next := now.Add(p.stall)
	byRate := p.start.Add(p.stall + time.Duration(float64(done)/float64(p.rate)*float64(time.Second)))
	if byRate.Before(next) {
		return byRate
	}
	return next
}

// body is a request's body on its way in: bounded in length, kept moving, and
// remembering why it failed, so that the failure of a store can be told as
// what it was.
type body struct {
	x     *exchange
	src   io.ReadCloser
	limit int64 // bytes; below zero: no bound
	pace  pace
	err   error // why reading failed; nil after a clean end
}

func (x *exchange) newBody(limit int64) *body {
	return &body{x: x, src: x.r.Body, limit: limit,
		pace: pace{stall: x.s.limits.SlowClient, rate: x.s.limits.MinRate}}
}

// Read reads on. At the end of the body the read deadline is taken away
// again: net/http watches the connection while the handler works, and would
// take a deadline that passes for a client that left.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if err := b.x.stillWelcome(); err != nil {
		b.err = err
		return 0, err
	}
	b.pace.passed(b.x.in, b.x.setReadDeadline)
	n, err := b.src.Read(p)
	b.x.in += int64(n)
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

// declaredTooLarge refuses a body by its Content-Length, before any of it is
// asked for.
func declaredTooLarge(r *http.Request, limit int64) bool {
	return limit >= 0 && r.ContentLength > limit
}
