package vaultconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/kubernetes"
)

// fresh is for how long after a login a refusal is taken to be Vault's word
// on what we may do: a role that was given another policy meanwhile shows only
// in a new token.
const fresh = time.Minute

const lookupSelf = "auth/token/lookup-self"

// session is one login. The token is a string, as the api package has it: it
// cannot be wiped, and lies in no other place.
type session struct {
	token   string
	began   time.Time
	watcher *api.LifetimeWatcher // nil: a token without an end
}

// String hides the token from format verbs.
func (s *session) String() string { return "vaultconn.session" }

// GoString hides the token from %#v.
func (s *session) GoString() string { return "vaultconn.session" }

func (c *Conn) current() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// loggedIn returns the present session, or a new one if there is none or it
// is still old. Of callers that need one at the same time, one logs in.
func (c *Conn) loggedIn(ctx context.Context, old *session) (*session, error) {
	select {
	case c.logins <- struct{}{}:
	case <-ctx.Done():
		return nil, unanswered(ctx.Err())
	}
	defer func() { <-c.logins }()
	if err := c.ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: the connection to Vault is closed", efs.ErrUnavailable)
	}
	if s := c.current(); s != nil && s != old {
		return s, nil
	}
	c.drop(old)
	auth, err := c.login(ctx)
	if err != nil {
		return nil, fmt.Errorf("logging in to Vault (%s): %w", c.config.Auth, err)
	}
	s := &session{token: auth.ClientToken, began: time.Now()}
	if auth.LeaseDuration > 0 {
		if s.watcher, err = c.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: &api.Secret{Auth: auth}}); err != nil {
			return nil, fmt.Errorf("renewing the Vault token: %w", err)
		}
	}
	c.keep(s)
	return s, nil
}

// keep makes s the session and renews its token until the token ends, or s is
// dropped.
func (c *Conn) keep(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = s
	if s.watcher == nil {
		return
	}
	c.renewal.Go(s.watcher.Start)
	c.renewal.Go(func() {
		for {
			select {
			case <-s.watcher.RenewCh():
			case <-s.watcher.DoneCh():
				c.drop(s)
				return
			}
		}
	})
}

// drop ends a session, so that the next call logs in.
func (c *Conn) drop(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s == nil || c.session != s {
		return
	}
	c.session = nil
	if s.watcher != nil {
		s.watcher.Stop()
	}
}

// stale reports whether a refusal may be for want of a newer token.
func (c *Conn) stale(ctx context.Context, s *session) bool {
	return time.Since(s.began) > fresh || errors.Is(c.send(ctx, s.token, http.MethodGet, lookupSelf, nil, nil), efs.ErrRefused)
}

func (c *Conn) login(ctx context.Context) (*api.SecretAuth, error) {
	if c.config.Auth == AuthToken {
		return c.ownToken(ctx)
	}
	method, err := c.method()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", efs.ErrRefused, err)
	}
	answer, err := method.Login(ctx, c.client)
	var pathErr *os.PathError
	switch {
	case errors.As(err, &pathErr):
		return nil, fmt.Errorf("%w: %w", efs.ErrRefused, err)
	case err != nil:
		return nil, notLoggedIn(meaning(err))
	case answer == nil || answer.Auth == nil || answer.Auth.ClientToken == "":
		return nil, fmt.Errorf("%w: Vault gave no token: check auth_mount", efs.ErrRefused)
	}
	return answer.Auth, nil
}

// notLoggedIn is meaning, where all that Vault answers but failures of its own
// are refusals.
func notLoggedIn(err error) error {
	var e *Error
	if errors.As(err, &e) && !errors.Is(e, efs.ErrUnavailable) {
		return &Error{Status: e.Status, Messages: e.Messages, kind: efs.ErrRefused}
	}
	return err
}

func (c *Conn) method() (api.AuthMethod, error) {
	if c.config.Auth == AuthAppRole {
		return approle.NewAppRoleAuth(c.config.RoleID, &approle.SecretID{FromFile: c.config.SecretIDFile}, approle.WithMountPath(c.config.authMount()))
	}
	return kubernetes.NewKubernetesAuth(c.config.Role, kubernetes.WithMountPath(c.config.authMount()),
		kubernetes.WithServiceAccountTokenPath(cmp.Or(c.config.JWTFile, podToken)))
}

// ownToken reads the token that somebody else made, and asks how long it lasts.
func (c *Conn) ownToken(ctx context.Context) (*api.SecretAuth, error) {
	token := os.Getenv("VAULT_TOKEN")
	if c.config.TokenFile != "" {
		b, err := os.ReadFile(c.config.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("%w: reading token_file: %w", efs.ErrRefused, err)
		}
		token = string(b)
	}
	token = strings.TrimSpace(token)
	if token == "" {
		return nil, fmt.Errorf("%w: the token is empty: put one into token_file", efs.ErrRefused)
	}
	var self struct {
		Data struct {
			TTL       int  `json:"ttl"` // seconds; 0: no end
			Renewable bool `json:"renewable"`
		} `json:"data"`
	}
	if err := c.send(ctx, token, http.MethodGet, lookupSelf, nil, &self); err != nil {
		return nil, notLoggedIn(err)
	}
	return &api.SecretAuth{ClientToken: token, LeaseDuration: self.Data.TTL, Renewable: self.Data.Renewable}, nil
}
