package vaultconn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	"github.com/hashicorp/vault/api"
)

// List is the method of Do that lists what lies under a path.
const List = "LIST"

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 4 << 20

// Conn is a connection to a Vault, logged in when it is first needed. It
// repeats nothing that failed, except once after logging in anew.
type Conn struct {
	config  Config
	client  *api.Client // holds no token
	http    *http.Transport
	ctx     context.Context // ends at Close
	cancel  context.CancelFunc
	logins  chan struct{} // held by whoever logs in
	renewal sync.WaitGroup

	mu      sync.Mutex
	session *session // nil: not logged in
}

// New prepares a connection; nothing is sent yet, so Vault need not answer.
func New(c Config) (*Conn, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	tlsConfig, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
	client, err := api.NewClient(&api.Config{
		Address: c.Address,
		HttpClient: &http.Client{
			Transport:     untilClosed{ctx, transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the api package follows them itself
		},
		CheckRetry: func(context.Context, *http.Response, error) (bool, error) { return false, nil },
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("preparing the connection to Vault: %w", err)
	}
	client.ClearToken() // VAULT_TOKEN is read where it is asked for
	client.ClearNamespace()
	if c.Namespace != "" {
		client.SetNamespace(c.Namespace)
	}
	return &Conn{config: c, client: client, http: transport, ctx: ctx, cancel: cancel, logins: make(chan struct{}, 1)}, nil
}

// Close ends what is under way and forgets the token. It is not revoked:
// another process may have it from the same file.
func (c *Conn) Close() error {
	c.cancel()
	c.logins <- struct{}{} // whoever is logging in is done
	c.drop(c.current())
	<-c.logins
	c.renewal.Wait()
	c.http.CloseIdleConnections()
	return nil
}

// Do sends in, as JSON, to a path without /v1/ and reads the answer into out;
// either may be nil. What it sent and received is wiped. Errors are *Error,
// or wrap efs.ErrUnavailable where no complete answer came. A refusal is
// returned only after a login of no more than a minute ago.
func (c *Conn) Do(ctx context.Context, method, path string, in, out any) error {
	s, err := c.loggedIn(ctx, nil)
	if err != nil {
		return err
	}
	err = c.send(ctx, s.token, method, path, in, out)
	if !errors.Is(err, efs.ErrRefused) || !c.stale(ctx, s) {
		return err
	}
	if s, err = c.loggedIn(ctx, s); err != nil {
		return err
	}
	return c.send(ctx, s.token, method, path, in, out)
}

// Ready is nil if Vault is unsealed and knows us.
func (c *Conn) Ready(ctx context.Context) error {
	h, err := c.client.Sys().HealthWithContext(ctx)
	switch {
	case err != nil:
		return meaning(err)
	case !h.Initialized:
		return fmt.Errorf("%w: Vault is not initialized", efs.ErrUnavailable)
	case h.Sealed:
		return fmt.Errorf("%w: Vault is sealed: unseal it", efs.ErrUnavailable)
	}
	s, err := c.loggedIn(ctx, nil)
	if err != nil {
		return err
	}
	if err := c.send(ctx, s.token, http.MethodGet, lookupSelf, nil, nil); !errors.Is(err, efs.ErrRefused) {
		return err
	}
	_, err = c.loggedIn(ctx, s)
	return err
}

func (c *Conn) send(ctx context.Context, token, method, path string, in, out any) error {
	r := c.client.NewRequest(method, "/v1/"+path)
	r.ClientToken = token
	if method == List {
		r.Method = http.MethodGet
		r.Params.Set("list", "true")
	}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return err
		}
		defer secret.Wipe(body)
		r.BodyBytes = body
	}
	//lint:ignore SA1019 the methods above it leave keys in strings, which cannot be wiped
	resp, err := c.client.RawRequestWithContext(ctx, r)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		return meaning(err)
	}
	return read(resp.Body, out)
}

func read(body io.Reader, out any) error {
	answer, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	defer secret.Wipe(answer)
	if err != nil {
		return unanswered(err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%w: what answers at Vault's address does not speak as Vault does: check address", efs.ErrUnavailable)
	}
	return nil
}

// untilClosed ends requests when the connection is closed, also those that
// the api package sends by itself.
type untilClosed struct {
	ctx  context.Context
	next http.RoundTripper
}

func (t untilClosed) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(t.ctx, cancel)
	resp, err := t.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	resp.Body = &releasing{resp.Body, func() { stop(); cancel() }}
	return resp, nil
}

type releasing struct {
	io.ReadCloser
	release func()
}

// Close closes the body and lets go of the request's context.
func (r *releasing) Close() error {
	defer r.release()
	return r.ReadCloser.Close()
}
