//go:build pkcs11

package pkcs11

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/efs-project/efs"
	"github.com/miekg/pkcs11"
)

// token is a login on a token, made when it is needed and made anew when it
// was lost. Calls of a library cannot be interrupted, so one goroutine makes
// them all, and callers leave when their time is over.
type token struct {
	name string
	c    Config
	jobs chan func()
	done chan struct{} // closed by close
	work sync.WaitGroup

	// Of the goroutine alone:
	s       *session          // nil: not logged in
	logins  int               // tried
	refused [sha256.Size]byte // hash of a PIN that the token refused: tokens lock after a few
	why     error             // how it did
}

// session is an open session with a user logged in.
type session struct {
	module *module
	ctx    *pkcs11.Ctx
	handle pkcs11.SessionHandle
}

func newToken(name string, c Config) *token {
	t := &token{name: name, c: c, jobs: make(chan func()), done: make(chan struct{})}
	t.work.Go(t.run)
	return t
}

func (t *token) run() {
	defer t.disconnect()
	for {
		select {
		case job := <-t.jobs:
			job()
		case <-t.done:
			return
		}
	}
}

// close logs out after the call that is under way.
func (t *token) close() {
	close(t.done)
	t.work.Wait()
}

type result[T any] struct {
	v   T
	err error
}

// ask has f called with a session and waits for what it returns, not longer
// than ctx. What comes later is handed to drop, which may be nil.
func ask[T any](ctx context.Context, t *token, drop func(T), f func(*session) (T, error)) (v T, err error) {
	answer := make(chan result[T])
	job := func() {
		var r result[T]
		s, err := t.connect()
		if err == nil {
			r.v, err = f(s)
			if lost(err) {
				t.disconnect()
			}
		}
		r.err = t.translate(err)
		select {
		case answer <- r:
		case <-ctx.Done():
			if drop != nil {
				drop(r.v)
			}
		}
	}
	select {
	case t.jobs <- job:
	case <-t.done:
		return v, fmt.Errorf("%w: KMS %s is closed", efs.ErrStopped, t.name)
	case <-ctx.Done():
		return v, t.noAnswer(ctx)
	}
	select {
	case r := <-answer:
		return r.v, r.err
	case <-ctx.Done():
		return v, t.noAnswer(ctx)
	}
}

func (t *token) noAnswer(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return fmt.Errorf("%w: the token of KMS %s does not answer", efs.ErrUnavailable, t.name)
}

// connect returns a session with the user logged in.
func (t *token) connect() (*session, error) {
	if t.s != nil {
		return t.s, nil
	}
	pin, err := t.c.pin()
	if err != nil {
		return nil, err
	}
	if t.why != nil && sha256.Sum256([]byte(pin)) == t.refused {
		return nil, fmt.Errorf("%w: the token refused this PIN and is not asked again, since tokens lock: put the right one into %s%s (%v)",
			efs.ErrRefused, t.c.PINFile, t.c.PINEnv, t.why)
	}
	m, err := openModule(t.c.Module)
	if err != nil {
		return nil, err
	}
	s, err := t.login(m, pin)
	if err != nil {
		m.close()
		return nil, err
	}
	t.s, t.why = s, nil
	return s, nil
}

func (t *token) login(m *module, pin string) (*session, error) {
	slot, err := t.slot(m.ctx)
	if err != nil {
		return nil, err
	}
	h, err := m.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return nil, fmt.Errorf("opening a session: %w", err)
	}
	t.logins++
	err = m.ctx.Login(h, pkcs11.CKU_USER, pin)
	if err != nil && !is(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		if is(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED) {
			t.refused, t.why = sha256.Sum256([]byte(pin)), err
		}
		_ = m.ctx.CloseSession(h)
		return nil, fmt.Errorf("logging in: %w", err)
	}
	return &session{m, m.ctx, h}, nil
}

// slot finds the token.
func (t *token) slot(ctx *pkcs11.Ctx) (uint, error) {
	slots, err := ctx.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("listing slots: %w", err)
	}
	for _, slot := range slots {
		info, err := ctx.GetTokenInfo(slot)
		if err != nil {
			continue // taken out meanwhile, or not initialised
		}
		if (t.c.Token == "" || info.Label == t.c.Token) && (t.c.Serial == "" || info.SerialNumber == t.c.Serial) {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("%w: no token %s%s in any of %d slots of %s", efs.ErrUnavailable, t.c.Token, t.c.Serial, len(slots), t.c.Module)
}

// disconnect ends the session, and the library where nobody else uses it, so
// that the next login begins from nothing.
func (t *token) disconnect() {
	if t.s == nil {
		return
	}
	_ = t.s.ctx.CloseSession(t.s.handle) // it may be gone already
	t.s.module.close()
	t.s = nil
}
