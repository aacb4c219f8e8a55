package session

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxToken bounds what is parsed, bytes.
const maxToken = 2048

// claims are what a token says. A token is rebuilt from its session when it is
// asked for again, so their encoding must not vary.
type claims struct {
	jwt.RegisteredClaims
	Session string        `json:"sid"`
	Renewal int           `json:"ren"`
	Confirm *confirmation `json:"cnf,omitempty"`
}

// confirmation binds a token to a client certificate (RFC 8705 section 3.1).
type confirmation struct {
	Thumbprint string `json:"x5t#S256"`
}

// rememberedToken is a token that was verified once.
type rememberedToken struct {
	session *Session
	renewal int
	expires int64 // Unix seconds
}

// keyID names a signing key without telling of it.
func keyID(key []byte) string {
	sum := sha256.Sum256(append([]byte("efs jwt key id\x00"), key...))
	return hex.EncodeToString(sum[:8])
}

// thumbprint turns the hex form of a certificate's SHA-256 into the JWT's.
func thumbprint(certSHA256 string) (string, error) {
	b, err := hex.DecodeString(certSHA256)
	if err != nil {
		return "", fmt.Errorf("client certificate's fingerprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// sign returns token number renewal of s, issued then: always the same bytes
// for the same arguments.
func (m *Manager) sign(s *Session, renewal int, issued issue) (string, error) {
	iat := time.Unix(issued.at, 0)
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    m.instance,
			Subject:   subject(s.User, s.FS),
			IssuedAt:  jwt.NewNumericDate(iat),
			ExpiresAt: jwt.NewNumericDate(iat.Add(m.cfg.TTL)),
		},
		Session: s.ID,
		Renewal: renewal,
	}
	if s.CertSHA256 != "" {
		x5t, err := thumbprint(s.CertSHA256)
		if err != nil {
			return "", err
		}
		c.Confirm = &confirmation{Thumbprint: x5t}
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, c)
	key, ok := m.keys.get(issued.key, m.cfg.Clock().Unix())
	if !ok {
		return "", fmt.Errorf("signing a token: %w", errKeyGone)
	}
	defer clear(key)
	t.Header["kid"] = issued.key
	text, err := t.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return text, nil
}

// hashText is SHA-256 of a text that is rarely above a kilobyte, without a
// copy on the heap: it runs at every request.
func hashText(s string) [32]byte {
	var buf [1024]byte
	return sha256.Sum256(append(buf[:0], s...))
}

// lookup returns what is known of a token: remembered if it was verified
// before, verified if not. ErrToken, ErrExpired.
func (m *Manager) lookup(token string) (rememberedToken, error) {
	if len(token) > maxToken {
		return rememberedToken{}, ErrToken
	}
	hash := hashText(token)
	m.mu.RLock()
	t, ok := m.tokens[hash]
	m.mu.RUnlock()
	if !ok {
		c, err := m.parse(token)
		if err != nil {
			return rememberedToken{}, err
		}
		if t, err = m.remember(hash, c); err != nil {
			return rememberedToken{}, err
		}
	}
	if m.cfg.Clock().Unix() >= t.expires {
		return rememberedToken{}, ErrExpired
	}
	return t, nil
}

// parse checks a token's signature, form, instance and dates. Tokens that this
// server signed in an earlier life, or that have expired, are ErrExpired.
func (m *Manager) parse(token string) (*claims, error) {
	c := new(claims)
	_, err := jwt.ParseWithClaims(token, c, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if key, ok := m.keys.get(kid, m.cfg.Clock().Unix()); ok {
			return key, nil
		}
		return nil, ErrToken
	}, jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired(),
		jwt.WithStrictDecoding(), jwt.WithTimeFunc(m.cfg.Clock))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return nil, ErrExpired
	case err != nil:
		return nil, ErrToken
	case c.Issuer != m.instance:
		return nil, ErrExpired
	}
	return c, nil
}

// remember ties a verified token to its session and keeps it. What the token
// says must be what the session says: the signature makes any difference a
// fault of the server's own.
func (m *Manager) remember(hash [32]byte, c *claims) (rememberedToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[c.Session]
	if s == nil {
		return rememberedToken{}, ErrExpired
	}
	var want string
	if s.CertSHA256 != "" {
		want, _ = thumbprint(s.CertSHA256)
	}
	got := ""
	if c.Confirm != nil {
		got = c.Confirm.Thumbprint
	}
	if got != want || c.Subject != subject(s.User, s.FS) || c.Renewal < 0 || c.Renewal >= len(s.issued) {
		return rememberedToken{}, ErrToken
	}
	t := rememberedToken{session: s, renewal: c.Renewal, expires: c.ExpiresAt.Unix()}
	if _, known := m.tokens[hash]; !known {
		m.tokens[hash] = t
		s.seen = append(s.seen, hash)
	}
	return t, nil
}
