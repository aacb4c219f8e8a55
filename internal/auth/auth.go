// Package auth holds what both sides of the handshake build for themselves:
// the text that a user signs to open a session. docs/handshake.md specifies it.
package auth

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/efs-project/efs"
)

// Version is the first line of every message.
const Version = "efs-auth-v1"

// NoCertificate stands in a message where the client presents no certificate.
const NoCertificate = "none"

// maxNonce bounds the nonce's text form, in characters.
const maxNonce = 128

// Message is what a user signs: who opens a session, on which server instance,
// over which certificate, and until when the offer stands. Its text form is
// the same on both sides, byte for byte.
type Message struct {
	Instance   string    // the server instance, a UUID
	FS         string    // the file system
	User       string    // the user's name in it
	CertSHA256 string    // SHA-256 of the client certificate's DER form, 64 hex digits; "" where there is none
	Nonce      string    // base64url without padding
	Expires    time.Time // whole seconds
}

// Text returns the exact text to sign. It does not end with a newline.
func (m Message) Text() string {
	cert := NoCertificate
	if m.CertSHA256 != "" {
		cert = "sha256:" + m.CertSHA256
	}
	return Version +
		"\ninstance: " + m.Instance +
		"\nfs: " + m.FS +
		"\nuser: " + m.User +
		"\ncertificate: " + cert +
		"\nnonce: " + m.Nonce +
		"\nexpires: " + m.Expires.UTC().Format(time.RFC3339)
}

// Check reports whether every field can stand in a message: an
// efs.ErrBadInput that names the field if not.
func (m Message) Check() error {
	bad := func(field string) error {
		return fmt.Errorf("message to sign: malformed %s: %w", field, efs.ErrBadInput)
	}
	id, err := efs.ParseID(m.Instance)
	switch {
	case err != nil || id.String() != m.Instance:
		return bad("instance")
	case !efs.ValidRealm(m.FS):
		return bad("fs")
	case !efs.ValidUserName(m.User):
		return bad("user")
	case m.CertSHA256 != "" && !ValidFingerprint(m.CertSHA256):
		return bad("certificate")
	case !validNonce(m.Nonce):
		return bad("nonce")
	case m.Expires.Year() < 2000 || m.Expires.Year() > 9999 || m.Expires.Nanosecond() != 0:
		return bad("expires")
	}
	return nil
}

// ParseMessage reads what Text writes, and nothing else: for every text it
// accepts, Text of the result is that text again. Errors are efs.ErrBadInput.
func ParseMessage(text string) (Message, error) {
	var m Message
	lines := strings.Split(text, "\n")
	if len(lines) != 7 || lines[0] != Version {
		return m, fmt.Errorf("message to sign: not seven lines that begin with %s: %w", Version, efs.ErrBadInput)
	}
	var cert, expires string
	for i, f := range []struct {
		name  string
		value *string
	}{
		{"instance", &m.Instance}, {"fs", &m.FS}, {"user", &m.User},
		{"certificate", &cert}, {"nonce", &m.Nonce}, {"expires", &expires},
	} {
		value, ok := strings.CutPrefix(lines[i+1], f.name+": ")
		if !ok {
			return Message{}, fmt.Errorf("message to sign: line %d is not %q: %w", i+2, f.name, efs.ErrBadInput)
		}
		*f.value = value
	}
	if cert != NoCertificate {
		hash, ok := strings.CutPrefix(cert, "sha256:")
		if !ok || !ValidFingerprint(hash) {
			return Message{}, fmt.Errorf("message to sign: malformed certificate: %w", efs.ErrBadInput)
		}
		m.CertSHA256 = hash
	}
	t, err := time.Parse(time.RFC3339, expires)
	if err != nil {
		return Message{}, fmt.Errorf("message to sign: malformed expires: %w", efs.ErrBadInput)
	}
	m.Expires = t.UTC()
	if err := m.Check(); err != nil {
		return Message{}, err
	}
	if m.Text() != text {
		return Message{}, fmt.Errorf("message to sign: not in its one form: %w", efs.ErrBadInput)
	}
	return m, nil
}

// ValidFingerprint reports whether s is a SHA-256 in 64 lower-case hex digits.
func ValidFingerprint(s string) bool {
	if len(s) != 64 || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

func validNonce(s string) bool {
	if s == "" || len(s) > maxNonce {
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && !strings.ContainsAny(s, "\r\n")
}
