package session

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/auth"
	"github.com/efs-project/efs/internal/userkey"
)

// HelloRequest asks for a nonce. CertSHA256 is of the client certificate that
// the request came over (64 hex digits), "" if there was none.
type HelloRequest struct{ FS, User, CertSHA256 string }

// Hello is the answer: what to sign.
type Hello struct {
	Nonce     string `json:"nonce"`
	Message   string `json:"message"` // the exact text to sign
	Instance  string `json:"instance"`
	ExpiresIn int    `json:"expires_in"` // seconds
}

// BeginRequest answers a Hello: a signature over its message.
type BeginRequest struct{ FS, User, Nonce, Signature, CertSHA256 string }

// Credentials are what a session is used with.
type Credentials struct {
	Token        string   `json:"token"`
	Basic        string   `json:"basic,omitempty"` // base64 of user:secret; only from Begin, for the secret itself is not kept
	ExpiresIn    int      `json:"expires_in"`      // seconds
	RenewalsLeft int      `json:"renewals_left"`
	Session      *Session `json:"-"`
}

// Hello returns a nonce and the message around it. It neither knows nor asks
// whether the user exists. Names that cannot be names are efs.ErrBadInput.
func (m *Manager) Hello(_ context.Context, r HelloRequest) (Hello, error) {
	now := m.cfg.Clock()
	nonce, expires := m.nonces.issue(now, r.FS, r.User, r.CertSHA256)
	msg := m.message(r.FS, r.User, r.CertSHA256, nonce, expires)
	if err := msg.Check(); err != nil {
		return Hello{}, err
	}
	return Hello{
		Nonce:     nonce,
		Message:   msg.Text(),
		Instance:  m.instance,
		ExpiresIn: int(expires.Sub(now) / time.Second),
	}, nil
}

func (m *Manager) message(fs, user, cert, nonce string, expires time.Time) auth.Message {
	return auth.Message{Instance: m.instance, FS: fs, User: user, CertSHA256: cert, Nonce: nonce, Expires: expires}
}

// Begin opens a session for a signed nonce. The nonce is used up, whatever
// comes of it. Errors: ErrNonce, ErrBusy, ErrAuth, and efs.ErrBadInput for a
// signature that is none; each depends on the request alone, or is ErrAuth.
func (m *Manager) Begin(_ context.Context, r BeginRequest) (*Credentials, error) {
	now := m.cfg.Clock()
	expires, err := m.nonces.spend(now, r.Nonce, r.FS, r.User, r.CertSHA256)
	if err != nil {
		return nil, err
	}
	msg := m.message(r.FS, r.User, r.CertSHA256, r.Nonce, expires)
	err = m.verify(m.signers(r.FS, r.User, r.CertSHA256), []byte(msg.Text()), r.Signature)
	if errors.Is(err, efs.ErrBadInput) {
		return nil, err
	}
	if err != nil {
		return nil, ErrAuth
	}
	return m.open(now, r)
}

// signers returns the keys that may sign for user over cert: none if the
// certificate is somebody else's.
func (m *Manager) signers(fs, user, cert string) []*userkey.Public {
	users := m.cfg.Users(fs)
	if users == nil {
		return nil
	}
	keys := users.SigningKeys(user)
	if cert != "" {
		if owner, ok := users.CertificateUser(cert); !ok || owner != user {
			return nil
		}
	}
	return keys
}

func (m *Manager) open(now time.Time, r BeginRequest) (*Credentials, error) {
	s := &Session{
		ID: randomText(18), FS: r.FS, User: r.User, CertSHA256: r.CertSHA256, Created: now,
		done: make(chan struct{}), clock: m.cfg.Clock, issued: []issue{{now.Unix(), m.keys.signer()}},
	}
	secret := s.ID + "." + randomText(32)
	s.basic = hashText(secret)
	s.expires.Store(now.Add(m.cfg.TTL).Unix())
	token, err := m.sign(s, 0, s.issued[0])
	if err != nil {
		return nil, err
	}
	if err := m.add(s); err != nil {
		return nil, err
	}
	// A revocation that came between the check and add has found no session
	// to end: look again, now that the next one would.
	if len(m.signers(r.FS, r.User, r.CertSHA256)) == 0 {
		m.End(s)
		return nil, ErrAuth
	}
	return &Credentials{
		Token:        token,
		Basic:        base64.StdEncoding.EncodeToString([]byte(s.User + ":" + secret)),
		ExpiresIn:    int(m.cfg.TTL / time.Second),
		RenewalsLeft: m.cfg.Renewals,
		Session:      s,
	}, nil
}

// Renew returns the successor of a token. The old token lives to its own
// expiry, and renewing it again returns the same successor. The Basic secret
// stays what it was. Errors: those of Verify, and ErrRenewals.
func (m *Manager) Renew(_ context.Context, token, certSHA256 string) (*Credentials, error) {
	t, err := m.lookup(token)
	if err != nil {
		return nil, err
	}
	s := t.session
	if s.CertSHA256 != certSHA256 {
		return nil, ErrBound
	}
	next := t.renewal + 1
	if next > m.cfg.Renewals {
		return nil, ErrRenewals
	}
	now := m.cfg.Clock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.ended {
		return nil, ErrExpired
	}
	if next == len(s.issued) {
		s.issued = append(s.issued, issue{now.Unix(), m.keys.signer()})
		s.expires.Store(now.Unix() + int64(m.cfg.TTL/time.Second))
	}
	issued := s.issued[next]
	successor, err := m.sign(s, next, issued)
	if err != nil {
		return nil, fmt.Errorf("renewing a session: %w", err)
	}
	return &Credentials{
		Token:        successor,
		ExpiresIn:    max(0, int(issued.at+int64(m.cfg.TTL/time.Second)-now.Unix())),
		RenewalsLeft: m.cfg.Renewals - next,
		Session:      s,
	}, nil
}
