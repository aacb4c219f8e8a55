package server

import (
	"context"
	"net/http"
	"sync"

	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/session"
)

// stillWelcome is asked at every piece of a body: a session that was ended by
// logout, revocation or deletion transfers nothing more, however the
// connection came about. A session that merely grows old lets a transfer that
// it began finish. Where the certificate is all there is, it is judged again
// when anything was taken from anybody: a proxy's connection is not cut.
func (x *exchange) stillWelcome() error {
	if x.who.session != nil {
		select {
		case <-x.who.session.Done():
			return sessionProblem(session.ErrExpired)
		default:
			return nil
		}
	}
	if x.who.users == nil {
		return nil // nobody yet: a handshake
	}
	if now := x.s.generation.Load(); now != x.judgedAt {
		if err := x.judgeAgain(); err != nil {
			return err
		}
		x.judgedAt = now
	}
	return nil
}

// judgeAgain is nil if the caller could begin the request now. It changes
// nothing in x, and may run beside the handler.
func (x *exchange) judgeAgain() error {
	y := exchange{ResponseWriter: x.ResponseWriter, r: x.r, s: x.s, l: x.l}
	need := needsSession
	if x.route == routeHello || x.route == routeSession {
		need = needsCertificate
	}
	if err := y.authenticate(need); err != nil {
		return err
	}
	if x.route != routeData && x.route != routeObject {
		return nil
	}
	y.aim(x.target)
	return y.mayDo(x.r.Method, x.target, x.to)
}

// mayDo asks what the handlers of files and directories ask.
func (x *exchange) mayDo(method string, t target, to string) error {
	switch method {
	case http.MethodGet, http.MethodHead:
		if t.dir {
			_, err := x.mayList(t.path)
			return err
		}
		return x.may(access.Read, t.path)
	case http.MethodPut, http.MethodPost, "MKCOL":
		return x.mayCreate(t.path)
	case http.MethodPatch:
		return x.may(access.Write, t.path)
	case http.MethodDelete:
		return x.may(access.Delete, t.path)
	}
	return x.mayMoveOrCopy(t, target{path: to})
}

// endWithWelcome ends the request's context when the caller loses what it
// takes, for what may neither read nor write for long. The function returned
// ends the watch.
func (x *exchange) endWithWelcome() (end func()) {
	ctx, cancel := context.WithCancel(x.r.Context())
	x.r = x.r.WithContext(ctx)
	watch := exchange{ResponseWriter: x.ResponseWriter, r: x.r, s: x.s, l: x.l, route: x.route, who: x.who, auditing: auditing{target: x.target}}
	if to, err := x.destination(); err == nil {
		watch.to = to.path
	}
	var over <-chan struct{} // nil: never
	if x.who.session != nil {
		over = x.who.session.Done()
	}
	known := x.judgedAt
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			changed := x.s.changed.wait()
			if now := x.s.generation.Load(); now != known {
				if known = now; watch.judgeAgain() != nil {
					cancel()
				}
			}
			select {
			case <-changed:
			case <-over:
				cancel()
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

// signal wakes all who wait.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // closed by the next tell; nil: nobody waits
}

// wait returns a channel that the next tell closes.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
