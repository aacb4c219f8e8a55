package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// Client is a user's session with a server. All methods are safe for
// concurrent use.
type Client struct {
	cfg  Config
	base *url.URL
	now  func() time.Time

	auth    chan struct{} // held while credentials are exchanged; guards what follows
	cert    *tls.Certificate
	quick   *http.Client
	patient *http.Client

	current atomic.Pointer[session]
	closed  atomic.Bool
}

var errClosed = errors.New("the client was closed")

// Dial logs in. ctx bounds the handshake only.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	base, cert, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, base: base, now: time.Now, auth: make(chan struct{}, 1)}
	c.useCertificate(cert)
	if _, err := c.session(ctx); err != nil {
		c.idle()
		return nil, err
	}
	return c, nil
}

// FS returns the name of the file system that the user is a user of.
func (c *Client) FS() string { return c.cfg.FS }

// Bucket returns the name of the file system that the client works in, which
// is FS unless the configuration says another.
func (c *Client) Bucket() string { return c.cfg.Bucket }

// User returns the name of the user who is logged in.
func (c *Client) User() string { return c.cfg.User }

// URL returns the server's address, https://HOST[:PORT].
func (c *Client) URL() string { return c.base.String() }

// useCertificate makes connections from now on present cert. Requests under
// way keep theirs.
func (c *Client) useCertificate(cert *tls.Certificate) {
	c.cert = cert
	c.quick, c.patient = c.newHTTP(cert)
}

// logoutTimeout bounds the farewell of Close.
const logoutTimeout = 3 * time.Second

// Close logs out, so that the session's credentials are worth nothing from
// then on, and closes idle connections. Requests under way may fail. A server
// that cannot be reached is no error: the session ends by itself.
func (c *Client) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), logoutTimeout)
	defer cancel()
	select {
	case c.auth <- struct{}{}:
		defer func() { <-c.auth }()
	case <-ctx.Done():
		return nil // a handshake hangs: it will find no client to serve
	}
	defer c.idle()
	s := c.current.Load()
	if s == nil {
		return nil
	}
	req, err := c.newRequest(ctx, http.MethodDelete, "/auth/session", nil)
	if err != nil {
		return err
	}
	s.authorize(req)
	if resp, err := s.http.Do(req); err == nil {
		drain(resp.Body)
	}
	return nil
}

func (c *Client) idle() {
	c.quick.CloseIdleConnections()
	c.patient.CloseIdleConnections()
}

// newRequest makes a request for an escaped path of the server.
func (c *Client) newRequest(ctx context.Context, method, escaped string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+escaped, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	return req, nil
}
