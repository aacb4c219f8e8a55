package session

import (
	"crypto/subtle"
	"strings"
)

// Verify returns the session that a request's credentials belong to.
//
// token, basicUser and basicSecret are "" where the request carries none;
// certSHA256 is that of its client certificate, which the caller has judged,
// "" for none. What need demands must be there; what is there must be right,
// demanded or not. A session bound to a certificate needs that certificate
// even where need does not demand one. Without a token, Basic alone finds the
// session.
//
// Errors: ErrMissing, ErrToken, ErrExpired, ErrBasic, ErrBound. It does no
// public-key work and, after a token's first use, parses nothing.
func (m *Manager) Verify(token, basicUser, basicSecret, certSHA256 string, need Factors) (*Session, error) {
	s, _, err := m.VerifyUntil(token, basicUser, basicSecret, certSHA256, need)
	return s, err
}

// VerifyUntil is Verify for a caller that remembers the answer: the same
// arguments have the same answer while Lives holds for it.
func (m *Manager) VerifyUntil(token, basicUser, basicSecret, certSHA256 string, need Factors) (s *Session, until int64, err error) {
	switch {
	case need.Token && token == "", need.Basic && basicSecret == "", need.Certificate && certSHA256 == "":
		return nil, 0, ErrMissing
	case token == "" && basicSecret == "": // nothing to find a session by
		return nil, 0, ErrMissing
	}
	if token != "" {
		t, err := m.lookup(token)
		if err != nil {
			return nil, 0, err
		}
		s, until = t.session, t.expires
	} else {
		if s = m.sessionOf(basicSecret); s == nil || s.Err() != nil {
			return nil, 0, ErrExpired
		}
		until = s.expires.Load()
	}
	if basicSecret != "" && !s.basicFits(basicUser, basicSecret) {
		return nil, 0, ErrBasic
	}
	if s.CertSHA256 != certSHA256 && (s.CertSHA256 != "" || need.Certificate) {
		return nil, 0, ErrBound
	}
	return s, until, nil
}

// Lives reports whether an answer of VerifyUntil still stands.
func (m *Manager) Lives(s *Session, until int64) bool {
	return m.cfg.Clock().Unix() < until && s.Err() == nil
}

// sessionOf finds a session by its Basic secret: "session id.random".
func (m *Manager) sessionOf(secret string) *Session {
	id, _, _ := strings.Cut(secret, ".")
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.sessions[id]
}

func (s *Session) basicFits(user, secret string) bool {
	sum := hashText(secret)
	return subtle.ConstantTimeCompare(sum[:], s.basic[:]) == 1 && user == s.User
}
