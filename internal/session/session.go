// Package session keeps who is logged in: it hands out nonces, checks signed
// ones, and gives two credentials for a success, a token (JWT) and a Basic
// secret, both bound to the server instance and to the client certificate.
// docs/handshake.md specifies all of it.
//
// Tokens are signed with HMAC-SHA-256 (HS256) and nothing else is accepted.
// Only the server that made a token ever checks it, so a public key would have
// no reader; one symmetric algorithm leaves no other to be confused with, costs
// a microsecond, and stays safe against quantum computers.
package session

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/userkey"
)

// Why a request has no session. None tells whether a user exists.
var (
	ErrAuth     = errors.New("authentication failed: unknown user, or a signature by another key or over another text")
	ErrNonce    = errors.New("nonce unknown, used, expired, or for another user or certificate: ask for a new one")
	ErrBusy     = errors.New("too many handshakes: wait a moment")
	ErrMissing  = errors.New("credentials missing: open a session first")
	ErrToken    = errors.New("token malformed or not signed by this server")
	ErrExpired  = errors.New("session expired or ended: shake hands again")
	ErrBasic    = errors.New("the Basic secret does not belong to this session")
	ErrBound    = errors.New("session belongs to another client certificate")
	ErrRenewals = errors.New("no renewals left: shake hands again")
)

// The lifetimes and bounds of a Config left at zero.
const (
	DefaultTTL         = 60 * time.Minute // of a token
	DefaultRenewals    = 24               // of a session
	DefaultNonceTTL    = 60 * time.Second
	DefaultMaxPerUser  = 256     // sessions of one user; a new one ends the oldest
	DefaultMaxSessions = 1 << 16 // of all users
)

// KeySize is the least length of a signing key, bytes.
const KeySize = 32

// NewKey returns a signing key for Config.Keys.
func NewKey() []byte {
	key := make([]byte, KeySize)
	rand.Read(key)
	return key
}

// Users answers what a handshake must know about the users of a file system.
// *access.Directory implements it. Methods must take equally long whether or
// not a user exists.
type Users interface {
	// SigningKeys returns the keys that may sign for user now; none for a
	// user that does not exist or is revoked.
	SigningKeys(user string) []*userkey.Public
	// CertificateUser returns whose the certificate with that SHA-256
	// (hex) is, if it is valid now.
	CertificateUser(sha256 string) (user string, ok bool)
}

// Config says how sessions are made.
type Config struct {
	Instance    efs.ID                // of this start of the server; tokens of another are dead
	Keys        [][]byte              // signing keys of at least KeySize bytes; the first signs, all verify
	Users       func(fs string) Users // nil result: no such file system
	Clock       func() time.Time      // nil: time.Now
	TTL         time.Duration
	Renewals    int
	NonceTTL    time.Duration
	MaxPerUser  int
	MaxSessions int
}

// Factors are what a listener demands of a request.
type Factors struct{ Certificate, Basic, Token bool }

// AllFactors is what a listener demands by default.
var AllFactors = Factors{Certificate: true, Basic: true, Token: true}

// Session is what a completed handshake gives a user. Its exported fields
// never change.
type Session struct {
	ID         string
	FS, User   string
	CertSHA256 string // 64 hex digits; "" for a session without a certificate
	Created    time.Time

	basic   [32]byte      // SHA-256 of the Basic secret
	done    chan struct{} // closed when the session is ended before its time
	expires atomic.Int64  // of its last token, Unix seconds
	clock   func() time.Time

	// Guarded by Manager.mu.
	issued []issue    // of token n
	seen   [][32]byte // hashes of tokens in Manager.tokens
	ended  bool
}

// issue is when and under which key a token was signed, so that it can be made
// again.
type issue struct {
	at  int64 // Unix seconds
	key string
}

// Done is closed when the session is ended by logout, revocation or newer
// sessions. Mere expiry does not close it; Err tells of both.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is nil while the session lives, then ErrExpired.
func (s *Session) Err() error {
	select {
	case <-s.done:
		return ErrExpired
	default:
	}
	if s.clock().Unix() >= s.expires.Load() {
		return ErrExpired
	}
	return nil
}

// Manager keeps the sessions of one server instance. It is safe for concurrent
// use and starts no goroutines.
type Manager struct {
	cfg      Config
	instance string
	keys     signingKeys
	nonces   nonces
	verify   func(keys []*userkey.Public, message []byte, signature string) error

	mu        sync.RWMutex
	sessions  map[string]*Session          // by id
	byUser    map[string][]*Session        // by user@fs, oldest first
	tokens    map[[32]byte]rememberedToken // verified before, by SHA-256
	lastSweep time.Time
}

// New returns a Manager with no sessions. Errors are efs.ErrBadInput: no
// instance, no keys, or short ones.
func New(cfg Config) (*Manager, error) {
	if cfg.Instance.IsZero() || cfg.Users == nil || len(cfg.Keys) == 0 {
		return nil, fmt.Errorf("session manager: instance, users and a signing key are needed: %w", efs.ErrBadInput)
	}
	setDefault(&cfg.TTL, DefaultTTL)
	setDefault(&cfg.Renewals, DefaultRenewals)
	setDefault(&cfg.NonceTTL, DefaultNonceTTL)
	setDefault(&cfg.MaxPerUser, DefaultMaxPerUser)
	setDefault(&cfg.MaxSessions, DefaultMaxSessions)
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	m := &Manager{
		cfg:      cfg,
		instance: cfg.Instance.String(),
		verify:   userkey.Verify,
		sessions: map[string]*Session{},
		byUser:   map[string][]*Session{},
		tokens:   map[[32]byte]rememberedToken{},
	}
	if err := m.keys.init(cfg.Keys); err != nil {
		return nil, err
	}
	m.nonces.init(cfg.NonceTTL)
	return m, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Count returns how many sessions are kept, for metrics.
func (m *Manager) Count() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.sessions)
}

// Instance returns the server instance that the sessions belong to.
func (m *Manager) Instance() efs.ID { return m.cfg.Instance }

// add makes room for s and keeps it. ErrBusy: no room overall.
func (m *Manager) add(s *Session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.cfg.Clock()
	if now.Sub(m.lastSweep) >= time.Minute || len(m.sessions) >= m.cfg.MaxSessions {
		m.sweep(now)
	}
	owner := subject(s.User, s.FS)
	if own := m.byUser[owner]; len(own) >= m.cfg.MaxPerUser {
		m.end(own[0])
	}
	if len(m.sessions) >= m.cfg.MaxSessions {
		return ErrBusy
	}
	m.sessions[s.ID] = s
	m.byUser[owner] = append(m.byUser[owner], s)
	return nil
}

// sweep forgets sessions whose last token has expired. Called with m.mu held.
func (m *Manager) sweep(now time.Time) {
	m.lastSweep = now
	m.keys.expire(now.Unix())
	for _, s := range m.sessions {
		if now.Unix() >= s.expires.Load() {
			m.end(s)
		}
	}
}

// randomText returns n random bytes in base64url.
func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func subject(user, fs string) string { return user + "@" + fs }
