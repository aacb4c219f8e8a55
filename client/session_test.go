package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/auth"
)

// watch counts what a client sends, by method and path, and lets a test break
// answers.
type watch struct {
	next    http.RoundTripper
	mu      sync.Mutex
	seen    map[string]int
	respond func(req *http.Request, send func() (*http.Response, error)) (*http.Response, error)
}

func (w *watch) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.seen[req.Method+" "+req.URL.Path]++
	respond := w.respond
	w.mu.Unlock()
	if respond != nil {
		return respond(req, func() (*http.Response, error) { return w.next.RoundTrip(req) })
	}
	return w.next.RoundTrip(req)
}

func (w *watch) count(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[what]
}

// watched puts a watch between the client's present session and the network.
func watched(c *Client) *watch {
	w := &watch{next: c.quick.Transport, seen: map[string]int{}}
	c.quick.Transport, c.patient.Transport = w, w
	return w
}

// at makes the client believe that so much time has passed.
func at(c *Client, later time.Duration) { c.now = func() time.Time { return time.Now().Add(later) } }

func TestSessionsRenewThemselves(t *testing.T) {
	c, _ := dial(t)
	w := watched(c)
	put := func() {
		t.Helper()
		if _, err := c.Put(t.Context(), "/x", strings.NewReader("x"), PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	at(c, 39*time.Minute)
	put()
	if n := w.count("POST /auth/renew"); n != 0 {
		t.Errorf("renewed %d times before two thirds of the hour", n)
	}
	for i := 1; i <= 24; i++ {
		at(c, time.Duration(i)*41*time.Minute)
		put()
		if n := w.count("POST /auth/renew"); n != i {
			t.Fatalf("after %d periods: %d renewals", i, n)
		}
	}
	if n := w.count("POST /auth/hello"); n != 0 {
		t.Errorf("%d handshakes while renewals were left", n)
	}
	at(c, 25*41*time.Minute)
	put()
	if w.count("POST /auth/renew") != 24 || w.count("POST /auth/hello") != 1 || w.count("POST /auth/session") != 1 {
		t.Errorf("after 24 renewals: %v, want one handshake", w.seen)
	}
}

func TestFailedRenewalFailsNoRequest(t *testing.T) {
	c, _ := dial(t)
	w := watched(c)
	w.respond = func(req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if req.URL.Path == "/auth/renew" {
			return nil, io.ErrUnexpectedEOF
		}
		return send()
	}
	at(c, 41*time.Minute)
	for range 3 {
		if _, err := c.Put(t.Context(), "/x", strings.NewReader("x"), PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.count("POST /auth/renew"); n != 1 {
		t.Errorf("%d attempts in a moment, want 1", n)
	}
}

func TestOneSilentHandshakeAfterRestart(t *testing.T) {
	c, s := dial(t)
	mustPut(t, c, "/x", []byte("before"))
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	w := watched(c)
	if got, err := c.ReadFile(t.Context(), "/x"); err != nil || string(got) != "before" {
		t.Errorf("after a restart: %q, %v", got, err)
	}
	if _, err := c.Stat(t.Context(), "/x"); err != nil {
		t.Errorf("Stat: %v", err)
	}
	if n := w.count("POST /auth/hello"); n != 1 {
		t.Errorf("%d handshakes, want 1", n)
	}
	// HEAD is answered without a problem document.
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Stat(t.Context(), "/x"); err != nil {
		t.Errorf("Stat after a restart: %v", err)
	}
	// A body that cannot be read twice is not read before the server agrees.
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	content := randomBytes(t, 3<<20)
	if _, err := c.Put(t.Context(), "/y", onlyReader{bytes.NewReader(content)}, PutOptions{}); err != nil {
		t.Errorf("storing a stream after a restart: %v", err)
	}
	if got, err := c.ReadFile(t.Context(), "/y"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func TestRevokedUserIsTold(t *testing.T) {
	c, s := dial(t)
	mustPut(t, c, "/x", []byte("x"))
	fs, err := s.Node.FS("user-data")
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.Users.Revoke(t.Context(), "app1"); err != nil {
		t.Fatal(err)
	}
	var e *Error
	_, err = c.ReadFile(t.Context(), "/x")
	if !errors.Is(err, ErrDenied) || !errors.As(err, &e) || e.Type != "certificate-revoked" {
		t.Errorf("a revoked user gets %v", err)
	}
}

func TestCloseLogsOut(t *testing.T) {
	c, _ := dial(t)
	s := c.current.Load()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	req, err := c.newRequest(t.Context(), http.MethodGet, "/data/", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.authorize(req)
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	drain(resp.Body)
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after Close the credentials give %s", resp.Status)
	}
}

func TestCertificateIsRenewedAtTwoThirds(t *testing.T) {
	_, cfg := startServer(t)
	before, err := os.ReadFile(cfg.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at(c, 59*24*time.Hour)
	mustPut(t, c, "/x", []byte("x"))
	if now, _ := os.ReadFile(cfg.CertFile); !bytes.Equal(now, before) {
		t.Fatal("the certificate was renewed before two thirds of its life")
	}
	at(c, 61*24*time.Hour)
	mustPut(t, c, "/y", []byte("y"))
	after, err := LoadCertificate(cfg.CertFile)
	if err != nil {
		t.Fatalf("the renewed file: %v", err)
	}
	old, err := tls.X509KeyPair(before, before)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(after.Certificate[0], old.Certificate[0]) || bytes.Equal(after.Leaf.RawSubjectPublicKeyInfo, old.Leaf.RawSubjectPublicKeyInfo) {
		t.Error("the file holds the old certificate or the old key")
	}
	if info, err := os.Stat(cfg.CertFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("permissions of the renewed file: %v, %v", info.Mode(), err)
	}
	if got := fingerprint(c.current.Load().cert.Leaf); got != fingerprint(after.Leaf) {
		t.Error("the client does not use the certificate that it saved")
	}
	// The file serves the next start, and one that cannot be saved is not used.
	cfg.SaveCertificate = func([]byte) error { return errors.New("no room") }
	next, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	at(next, 61*24*time.Hour)
	mustPut(t, next, "/z", []byte("z"))
	if got := fingerprint(next.current.Load().cert.Leaf); got != fingerprint(after.Leaf) {
		t.Error("a certificate that was not saved is in use")
	}
}

// TestAlteredMessageGetsNoSignature stands between client and server and
// changes the text to be signed.
func TestAlteredMessageGetsNoSignature(t *testing.T) {
	_, cfg := startServer(t)
	signer := &counting{Signer: cfg.Signer}
	cfg.Signer = signer
	base, cert, err := cfg.resolve()
	if err != nil {
		t.Fatal(err)
	}
	for name, alter := range map[string]func(m *auth.Message) string{
		"another user":        func(m *auth.Message) string { m.User = "root"; return m.Text() },
		"another fs":          func(m *auth.Message) string { m.FS = "other"; return m.Text() },
		"another certificate": func(m *auth.Message) string { m.CertSHA256 = strings.Repeat("0", 64); return m.Text() },
		"another nonce":       func(m *auth.Message) string { m.Nonce = "AAAA"; return m.Text() },
		"valid for a year":    func(m *auth.Message) string { m.Expires = m.Expires.AddDate(1, 0, 0); return m.Text() },
		"no login":            func(*auth.Message) string { return "I owe you a house" },
		"something added":     func(m *auth.Message) string { return m.Text() + "\nI owe you a house" },
	} {
		c := &Client{cfg: cfg, base: base, now: time.Now, auth: make(chan struct{}, 1)}
		c.useCertificate(cert)
		w := watched(c)
		w.respond = func(req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
			resp, err := send()
			if err != nil || req.URL.Path != "/auth/hello" {
				return resp, err
			}
			return rewriteMessage(t, resp, alter), nil
		}
		if _, err := c.session(t.Context()); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := signer.n.Load(); n != 0 {
		t.Errorf("%d signatures were made", n)
	}
}

type counting struct {
	Signer
	n atomic.Int32
}

func (c *counting) Sign(m []byte) (string, error) {
	c.n.Add(1)
	return c.Signer.Sign(m)
}

func TestLostConnectionsAreRetried(t *testing.T) {
	c, _ := dial(t)
	content := randomBytes(t, 100_000)
	w := watched(c)
	var failures atomic.Int32
	w.respond = func(req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if failures.Add(-1) >= 0 {
			if req.Body != nil {
				_, _ = io.CopyN(io.Discard, req.Body, 1000)
			}
			return nil, io.ErrUnexpectedEOF
		}
		return send()
	}
	failures.Store(2)
	var sent int64
	if _, err := c.Put(t.Context(), "/x", bytes.NewReader(content), PutOptions{Progress: func(n int64) { sent += n }}); err != nil {
		t.Fatal(err)
	}
	if sent != int64(len(content)) {
		t.Errorf("progress came to %d of %d", sent, len(content))
	}
	failures.Store(2)
	if got, err := c.ReadFile(t.Context(), "/x"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	// What was read from cannot be sent again, nor a condition be tried twice.
	failures.Store(1)
	if _, err := c.Put(t.Context(), "/y", onlyReader{bytes.NewReader(content)}, PutOptions{}); !isEOF(err) {
		t.Errorf("a stream that broke off: %v", err)
	}
	failures.Store(1)
	if _, err := c.Put(t.Context(), "/y", bytes.NewReader(content), PutOptions{IfNoneMatch: true}); !isEOF(err) {
		t.Errorf("a conditional store that broke off: %v", err)
	}
	failures.Store(1)
	if err := c.Move(t.Context(), "/x", "/z", MoveOptions{}); !isEOF(err) {
		t.Errorf("a move that broke off: %v", err)
	}
}

func TestReadsResumeWhereTheyBrokeOff(t *testing.T) {
	c, _ := dial(t)
	content := randomBytes(t, 1<<20)
	mustPut(t, c, "/x", content)
	w := watched(c)
	var breaks atomic.Int32
	breaks.Store(3)
	w.respond = func(_ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if err == nil && breaks.Add(-1) >= 0 {
			resp.Body = &breaking{resp.Body, 100_000}
		}
		return resp, err
	}
	if got, err := c.ReadFile(t.Context(), "/x"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if n := w.count("GET /data/x"); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
	// On another version it does not go on.
	breaks.Store(1)
	body, err := c.Get(t.Context(), "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	mustPut(t, c, "/x", randomBytes(t, 1<<20))
	if _, err := io.ReadAll(body); !errors.Is(err, ErrConflict) {
		t.Errorf("reading on after a replacement: %v", err)
	}
}

// breaking loses the connection after n bytes.
type breaking struct {
	io.ReadCloser
	n int
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.n <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.n)])
	b.n -= n
	return n, err
}

func TestBusyServerIsAskedAgain(t *testing.T) {
	c, _ := dial(t)
	w := watched(c)
	refuse := func(status, retryAfter, problem string) func(*http.Request, func() (*http.Response, error)) (*http.Response, error) {
		return func(req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
			if w.count(req.Method+" "+req.URL.Path) > 1 {
				return send()
			}
			text := "HTTP/1.1 " + status + "\r\nRetry-After: " + retryAfter + "\r\nContent-Type: application/problem+json\r\n\r\n" +
				`{"type":"urn:efs:error:` + problem + `","title":"Wait"}`
			return readResponse(t, req, text), nil
		}
	}
	w.respond = refuse("503 Busy", "1", "too-busy")
	start := time.Now()
	if _, err := c.Put(t.Context(), "/x", strings.NewReader("x"), PutOptions{IfNoneMatch: true}); err != nil {
		t.Errorf("after 503: %v", err)
	}
	if waited := time.Since(start); waited < time.Second {
		t.Errorf("asked again after %v, before Retry-After", waited)
	}
	w.respond = refuse("503 Sealed", "1", "sealed")
	if _, err := c.Put(t.Context(), "/sealed", strings.NewReader("x"), PutOptions{}); !errors.Is(err, ErrSealed) || w.count("PUT /data/sealed") != 1 {
		t.Errorf("a sealed server: %v after %d requests", err, w.count("PUT /data/sealed"))
	}
	w.respond = refuse("502 Proxy", "", "")
	if _, err := c.Stat(t.Context(), "/x"); err != nil {
		t.Errorf("after 502: %v", err)
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	_, cfg := startServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.URL = "https://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Retries = 1
	if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Dial gave %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a context that has ended gave %v", err)
	}
}

// readResponse makes an answer out of its text.
func readResponse(t *testing.T, req *http.Request, text string) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), req)
	if err != nil {
		t.Error(err)
	}
	return resp
}

// rewriteMessage alters the message in the answer to a hello.
func rewriteMessage(t *testing.T, resp *http.Response, alter func(*auth.Message) string) *http.Response {
	t.Helper()
	var hello map[string]any
	if err := decode(resp, &hello); err != nil {
		t.Fatal(err)
	}
	m, err := auth.ParseMessage(hello["message"].(string))
	if err != nil {
		t.Fatal(err)
	}
	hello["message"] = alter(&m)
	b, err := json.Marshal(hello)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return resp
}
