package session

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/userkey"
)

var ctx = context.Background()

// people is a directory of users for tests.
type people struct {
	mu    sync.Mutex
	keys  map[string][]*userkey.Public
	certs map[string]string // fingerprint → user
}

func (p *people) SigningKeys(user string) []*userkey.Public {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[user]
}

func (p *people) CertificateUser(sha256 string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user, ok := p.certs[sha256]
	return user, ok
}

func (p *people) remove(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.keys, user)
}

// house is a server as far as sessions go: two users, a clock that is turned
// by hand.
type house struct {
	*Manager
	t      testing.TB
	people *people
	key    map[string]ed25519.PrivateKey
	mu     sync.Mutex
	time   time.Time
	cfg    Config
}

const fsName = "user-data"

// certOf is the fingerprint of a user's certificate.
func certOf(user string) string {
	sum := sha256.Sum256([]byte("certificate of " + user))
	return hex.EncodeToString(sum[:])
}

func newHouse(t testing.TB, change ...func(*Config)) *house {
	t.Helper()
	h := &house{
		t: t, key: map[string]ed25519.PrivateKey{}, time: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC),
		people: &people{keys: map[string][]*userkey.Public{}, certs: map[string]string{}},
	}
	for _, user := range []string{"app1", "app2"} {
		pub, priv, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		line, err := ssh.NewPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		p, err := userkey.ParsePublic(ssh.MarshalAuthorizedKey(line))
		if err != nil {
			t.Fatal(err)
		}
		h.key[user], h.people.keys[user], h.people.certs[certOf(user)] = priv, []*userkey.Public{p}, user
	}
	h.cfg = Config{
		Instance: efs.NewID(),
		Keys:     [][]byte{NewKey()},
		Clock:    h.now,
		Users: func(fs string) Users {
			if fs == fsName {
				return h.people
			}
			return nil
		},
	}
	for _, c := range change {
		c(&h.cfg)
	}
	h.Manager = h.start(h.cfg)
	return h
}

func (h *house) start(cfg Config) *Manager {
	h.t.Helper()
	m, err := New(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

func (h *house) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.time
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.time = h.time.Add(d)
}

func (h *house) hello(user, cert string) Hello {
	h.t.Helper()
	hello, err := h.Hello(ctx, HelloRequest{FS: fsName, User: user, CertSHA256: cert})
	if err != nil {
		h.t.Fatal(err)
	}
	return hello
}

func (h *house) sign(user, text string) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(h.key[user], []byte(text)))
}

// request is a right answer to a fresh hello.
func (h *house) request(user, cert string) BeginRequest {
	h.t.Helper()
	hello := h.hello(user, cert)
	return BeginRequest{FS: fsName, User: user, Nonce: hello.Nonce, Signature: h.sign(user, hello.Message), CertSHA256: cert}
}

func (h *house) login(user string) *Credentials {
	h.t.Helper()
	c, err := h.Begin(ctx, h.request(user, certOf(user)))
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// basic splits the Basic credential as a server does.
func basic(t testing.TB, c *Credentials) (user, secret string) {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(c.Basic)
	if err != nil {
		t.Fatal(err)
	}
	user, secret, _ = strings.Cut(string(b), ":")
	return user, secret
}
