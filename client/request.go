package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// call is a request as it is repeated.
type call struct {
	op      string // for errors: the method and the path as the caller wrote it
	method  string
	path    string // escaped
	query   url.Values
	header  http.Header
	body    *source
	safe    bool // doing it twice is doing it once
	patient bool // the server may take long to answer
}

// expectFrom is the body size in bytes from which the server is asked first
// whether it wants the body at all (Expect: 100-continue).
const expectFrom = 1 << 20

// do makes a request and returns the server's answer if its status is below
// 300 or 304 or 308; anything else is an error and the answer is closed.
// repeated tells that the server may have done it more than once.
func (c *Client) do(ctx context.Context, r *call) (resp *http.Response, repeated bool, err error) {
	relogged := false
	for n := 0; ; n++ {
		s, err := c.session(ctx)
		if err != nil {
			return nil, repeated, err
		}
		resp, sendErr := c.send(ctx, s, r)
		if sendErr == nil && (resp.StatusCode < 300 || resp.StatusCode == http.StatusNotModified || resp.StatusCode == http.StatusPermanentRedirect) {
			return resp, repeated, nil
		}
		var refused *Error
		if sendErr == nil {
			refused = newError(r.op, resp)
		}
		if refused != nil && sessionLost(refused, r.method) && !relogged && r.replayable() {
			relogged = true
			n-- // no attempt was made: the server looked at the credentials only
			if _, err := c.replaceSession(ctx, s); err != nil {
				return nil, repeated, err
			}
			continue
		}
		again, pause, ambiguous := r.mayRepeat(sendErr, refused)
		if !again || n >= c.cfg.Retries || !r.replayable() || c.pause(ctx, n, pause) != nil {
			return nil, repeated, c.failure(ctx, r, sendErr, refused)
		}
		repeated = repeated || ambiguous
	}
}

// send makes one attempt.
func (c *Client) send(ctx context.Context, s *session, r *call) (*http.Response, error) {
	escaped := c.place(r.path)
	if len(r.query) > 0 {
		escaped += "?" + r.query.Encode()
	}
	req, err := c.newRequest(ctx, r.method, escaped, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if r.body != nil {
		if req.Body, err = r.body.begin(); err != nil {
			return nil, err
		}
		req.ContentLength = r.body.size
		if r.body.size == 0 {
			req.Body = http.NoBody
		}
		if r.body.size < 0 || r.body.size >= expectFrom {
			req.Header.Set("Expect", "100-continue")
		}
	}
	s.authorize(req)
	if r.patient {
		return s.patient.Do(req)
	}
	return s.http.Do(req)
}

func (r *call) replayable() bool { return r.body == nil || r.body.replayable() }

// sessionLost reports whether a fresh session may help. Answers to HEAD carry
// no problem document, so that every 401 may be one.
func sessionLost(e *Error, method string) bool {
	return e.Status == http.StatusUnauthorized && (e.Type == "session-expired" || method == http.MethodHead)
}

// mayRepeat judges a failed attempt: whether another may be made, not before
// which pause, and whether the server may nevertheless have done it.
func (r *call) mayRepeat(sendErr error, refused *Error) (again bool, pause time.Duration, ambiguous bool) {
	if refused != nil {
		switch refused.Status {
		case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			return !refused.needsOperator(), refused.retryAfter, false
		case http.StatusBadGateway, http.StatusGatewayTimeout:
			return r.safe, refused.retryAfter, true
		}
		return false, 0, false
	}
	if unsent(sendErr) {
		return true, 0, false
	}
	return r.safe && broken(sendErr), 0, true
}

// unsent reports whether a request failed before any of it left: the
// connection could not be made.
func unsent(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" && !errors.As(err, &dns)
}

// broken reports whether a connection was lost, as against a request that was
// given up or could never succeed.
func broken(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var netErr net.Error
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || isEOF(err) ||
		errors.As(err, &netErr) && netErr.Timeout()
}

// failure is the error of a request that is given up.
func (c *Client) failure(ctx context.Context, r *call, sendErr error, refused *Error) error {
	if refused != nil {
		return refused
	}
	if ctx.Err() != nil {
		return &opError{r.op, ctx.Err()}
	}
	return &opError{r.op, c.explain(sendErr)}
}

// opError names the request that failed.
type opError struct {
	op  string
	err error
}

func (e *opError) Error() string { return e.op + ": " + e.err.Error() }
func (e *opError) Unwrap() error { return e.err }

// Bounds of the pauses between attempts.
const (
	firstPause    = 100 * time.Millisecond
	longestPause  = 5 * time.Second
	maxRetryAfter = 60 * time.Second
)

// pause waits before attempt n+1: exponentially longer with n, at random, so
// that clients that failed together do not come back together, and no less
// than the server asked for.
func (c *Client) pause(ctx context.Context, n int, atLeast time.Duration) error {
	if atLeast > maxRetryAfter {
		return errors.New("the server asks to come back much later")
	}
	ceiling := min(firstPause<<min(n, 10), longestPause)
	timer := time.NewTimer(max(ceiling/2+rand.N(ceiling/2), atLeast))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
