package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/efs-project/efs/internal/auth"
)

// session is what a handshake gave: credentials, and connections that present
// the certificate they are bound to. It is never changed once in use; a
// renewal makes another.
type session struct {
	cert          *tls.Certificate
	http, patient *http.Client
	token, basic  string
	renewAt       time.Time // two thirds of the token's life
	expires       time.Time
	renewals      int // left
}

// authorize adds the credentials to a request.
func (s *session) authorize(req *http.Request) {
	req.Header.Set("Authorization", "Basic "+s.basic)
	req.Header.Set("EFS-Token", s.token)
}

// expiryMargin is kept clear of the end of a session, so that a request that
// begins is also admitted.
const expiryMargin = 5 * time.Second

// renewPause is how long a failed renewal is not tried again while the old
// token lasts.
const renewPause = 15 * time.Second

// session returns a live session: the one in hand, renewed where that is due,
// or the fruit of a new handshake.
func (c *Client) session(ctx context.Context) (*session, error) {
	s := c.current.Load()
	now := c.now()
	if s != nil && now.Before(s.renewAt) {
		return s, nil
	}
	if s != nil && now.Before(s.expires.Add(-expiryMargin)) {
		select {
		case c.auth <- struct{}{}:
			defer func() { <-c.auth }()
			return c.renew(ctx)
		default: // somebody else is at it
			return s, nil
		}
	}
	return c.replaceSession(ctx, s)
}

// replaceSession shakes hands, unless somebody else has replaced old already.
func (c *Client) replaceSession(ctx context.Context, old *session) (*session, error) {
	select {
	case c.auth <- struct{}{}:
		defer func() { <-c.auth }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.closed.Load() {
		return nil, errClosed
	}
	if s := c.current.Load(); s != old {
		return s, nil
	}
	return c.handshake(ctx)
}

// renew exchanges the token for its successor. While the old token lasts, a
// failure is no reason to fail a request. Called with c.auth held.
func (c *Client) renew(ctx context.Context) (*session, error) {
	s := c.current.Load()
	if c.now().Before(s.renewAt) {
		return s, nil
	}
	if s.renewals <= 0 {
		return c.handshake(ctx)
	}
	var granted credentials
	err := c.authCall(ctx, s, http.MethodPost, "/auth/renew", nil, &granted)
	var refused *Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		return c.handshake(ctx)
	case err != nil:
		c.cfg.Logger.Warn("the session was not renewed", "error", err)
		later := *s
		later.renewAt = c.now().Add(renewPause)
		c.current.Store(&later)
		return &later, nil
	}
	next := c.adopt(s, granted)
	return c.withFreshCertificate(ctx, next)
}

// handshake proves possession of the key and begins a session. Called with
// c.auth held.
func (c *Client) handshake(ctx context.Context) (*session, error) {
	s := &session{cert: c.cert, http: c.quick, patient: c.patient}
	if c.now().After(s.cert.Leaf.NotAfter) && c.reloadCertificate(s.cert) {
		s = &session{cert: c.cert, http: c.quick, patient: c.patient}
	}
	granted, err := c.login(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("logging in as %s@%s: %w", c.cfg.User, c.cfg.FS, err)
	}
	return c.withFreshCertificate(ctx, c.adopt(s, *granted))
}

// withFreshCertificate renews the certificate where that is due. A renewal
// that fails is logged: the certificate in hand still serves.
func (c *Client) withFreshCertificate(ctx context.Context, s *session) (*session, error) {
	changed, err := c.refreshCertificate(ctx, s)
	if err != nil {
		c.cfg.Logger.Warn("the client certificate was not renewed", "error", err)
	}
	if !changed {
		return s, nil
	}
	fresh := &session{cert: c.cert, http: c.quick, patient: c.patient}
	granted, err := c.login(ctx, fresh)
	if err != nil {
		return nil, fmt.Errorf("logging in with the renewed client certificate: %w", err)
	}
	return c.adopt(fresh, *granted), nil
}

// credentials is the server's answer to a handshake or a renewal.
type credentials struct {
	Token        string `json:"token"`
	Basic        string `json:"basic"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
	RenewalsLeft int    `json:"renewals_left"`
}

// adopt makes a session of new credentials and puts it in use.
func (c *Client) adopt(from *session, granted credentials) *session {
	life := time.Duration(granted.ExpiresIn) * time.Second
	s := &session{
		cert: from.cert, http: from.http, patient: from.patient,
		token: granted.Token, basic: orElse(granted.Basic, from.basic),
		renewAt: c.now().Add(life * 2 / 3), expires: c.now().Add(life),
		renewals: granted.RenewalsLeft,
	}
	c.current.Store(s)
	return s
}

// login is one handshake: hello, nonce, signed nonce, session.
func (c *Client) login(ctx context.Context, s *session) (*credentials, error) {
	var hello struct {
		Nonce, Message, Instance string
		ExpiresIn                int64 `json:"expires_in"`
	}
	who := map[string]string{"user": c.cfg.User, "fs": c.cfg.FS}
	if err := c.authCall(ctx, s, http.MethodPost, "/auth/hello", who, &hello); err != nil {
		return nil, err
	}
	text, err := c.messageToSign(s, hello.Message, hello.Nonce, hello.Instance)
	if err != nil {
		return nil, err
	}
	signature, err := c.cfg.Signer.Sign([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("signing the nonce: %w", err)
	}
	var granted credentials
	proof := map[string]string{"user": c.cfg.User, "fs": c.cfg.FS, "nonce": hello.Nonce, "signature": signature}
	if err := c.authCall(ctx, s, http.MethodPost, "/auth/session", proof, &granted); err != nil {
		return nil, err
	}
	if granted.Token == "" || granted.ExpiresIn <= 0 {
		return nil, errors.New("the server's answer holds no token: is this an EFS server?")
	}
	return &granted, nil
}

// maxMessageLife bounds how long a signature may be good for.
const maxMessageLife = 15 * time.Minute

// messageToSign builds the text to be signed from what this client knows and
// refuses a server's text that differs: a signature must never serve another
// server, user, certificate or purpose.
func (c *Client) messageToSign(s *session, offered, nonce, instance string) (string, error) {
	theirs, err := auth.ParseMessage(offered)
	if err != nil {
		return "", fmt.Errorf("%w: the server asks for a signature over something that is no login: %w", ErrTampered, err)
	}
	mine := auth.Message{
		Instance: instance, FS: c.cfg.FS, User: c.cfg.User, Nonce: nonce,
		CertSHA256: fingerprint(s.cert.Leaf),
		Expires:    theirs.Expires,
	}
	if mine.Text() != offered {
		return "", fmt.Errorf("%w: the text to sign is not about %s@%s, this certificate and this nonce. Nothing was signed; check what stands between this machine and %s",
			ErrTampered, c.cfg.User, c.cfg.FS, c.base.Host)
	}
	if theirs.Expires.After(c.now().Add(maxMessageLife)) {
		return "", fmt.Errorf("%w: the signature would be good until %s; check this machine's clock. Nothing was signed",
			ErrTampered, theirs.Expires.Format(time.RFC3339))
	}
	return offered, nil
}

// maxAnswer bounds the JSON answers that are read whole, in bytes.
const maxAnswer = 1 << 20

// authCall makes one request of the handshake and decodes its JSON answer.
func (c *Client) authCall(ctx context.Context, s *session, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	for n := 0; ; n++ {
		req, err := c.newRequest(ctx, method, path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		if in != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		if s.token != "" {
			s.authorize(req)
		}
		resp, err := s.http.Do(req)
		if err != nil {
			// A nonce is spent by its first use: what may have arrived is not sent twice.
			if n < c.cfg.Retries && unsent(err) && c.pause(ctx, n, 0) == nil {
				continue
			}
			return c.explain(err)
		}
		if resp.StatusCode/100 == 2 {
			return decode(resp, out)
		}
		refused := newError(method+" "+path, resp)
		if n >= c.cfg.Retries || refused.Status != http.StatusServiceUnavailable || refused.needsOperator() ||
			c.pause(ctx, n, refused.retryAfter) != nil {
			return refused
		}
	}
}

// decode reads a short JSON answer whole.
func decode(resp *http.Response, out any) error { return decodeUpTo(resp, out, maxAnswer) }

// decodeLong reads an answer whose length the request bounded.
func decodeLong(resp *http.Response, out any) error { return decodeUpTo(resp, out, 256*maxAnswer) }

func decodeUpTo(resp *http.Response, out any, limit int64) error {
	defer drain(resp.Body)
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("reading the server's answer (is this an EFS server?): %w", err)
	}
	return nil
}
