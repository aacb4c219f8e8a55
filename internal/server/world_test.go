package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/starter"
	"github.com/efs-project/efs/internal/userkey"
)

// world is a server over a real root: node, file systems, index, blobs, keys.
type world struct {
	t      testing.TB
	root   string
	node   *node.Node
	server *Server
	url    string
	host   string
	roots  *x509.CertPool
	log    *syncBuffer
	people map[string]*person // "user@fs"
	stop   func() error
}

// person is a user with the means to prove it.
type person struct {
	fs, name string
	key      ed25519.PrivateKey
	cert     tls.Certificate
}

// syncBuffer is a log that a test can read while the server writes it.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// option changes the world before it is made.
type option func(*node.Config, *Config, *Listener)

func newWorld(t testing.TB, options ...option) *world {
	t.Helper()
	_, key, err := starter.Generate()
	must(t, err)
	w := &world{t: t, root: t.TempDir(), log: &syncBuffer{}, people: map[string]*person{}}
	logger := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	nc := node.Config{Root: w.root, Key: &starter.Found{Key: key, From: "test"}, Logger: logger}
	sc := Config{Logger: logger}
	l := Listener{}
	for _, o := range options {
		o(&nc, &sc, &l)
	}
	w.node, err = node.New(context.Background(), nc)
	must(t, err)
	t.Cleanup(func() { must(t, w.node.Close()) })
	if l.Listener == nil {
		l.Listener, err = net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
	}
	w.host = l.Addr().String()
	w.url = "https://" + w.host
	w.server = New(w.node, sc)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, l) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { w.stop() })
	if w.node.State() == node.StateReady {
		w.populate()
	}
	return w
}

// populate makes two file systems with users.
func (w *world) populate() {
	w.t.Helper()
	pemCA, err := w.node.ServerCA()
	must(w.t, err)
	w.roots = x509.NewCertPool()
	w.roots.AppendCertsFromPEM(pemCA)
	for fsName, users := range map[string][]string{"docs": {"alice", "bob"}, "other": {"carol"}} {
		must(w.t, w.node.CreateFS(context.Background(), fsName, nil))
		for _, u := range users {
			w.addUser(fsName, u)
		}
	}
}

func (w *world) addUser(fsName, name string) *person {
	w.t.Helper()
	f, err := w.node.FS(fsName)
	must(w.t, err)
	return w.addTo(f.Users, fsName, name)
}

func (w *world) addTo(users *access.Directory, fsName, name string) *person {
	w.t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	must(w.t, err)
	der, err := x509.MarshalPKIXPublicKey(pub)
	must(w.t, err)
	public, err := userkey.ParsePublic(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	must(w.t, err)
	issued, err := users.CreateUser(context.Background(), name, public, nil)
	must(w.t, err)
	cert, err := tls.X509KeyPair(issued.Bundle, issued.Bundle)
	must(w.t, err)
	p := &person{fsName, name, priv, cert}
	w.people[name+"@"+fsName] = p
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// actor speaks to the server with a certificate and a session, each of which
// may be missing or wrong.
type actor struct {
	w            *world
	http         *http.Client
	token, basic string
	header       http.Header // sent with every request
}

// dial returns an actor with a certificate (none: without) and no session.
func (w *world) dial(certs ...tls.Certificate) *actor {
	return w.dialTLS(&tls.Config{Certificates: certs})
}

func (w *world) dialTLS(c *tls.Config) *actor {
	c.RootCAs = w.roots
	tr := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &actor{w: w, header: http.Header{}, http: &http.Client{
		Transport:     conforms{w.t, tr},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// as returns an actor with a session of its own, "user@fs".
func (w *world) as(who string) *actor {
	w.t.Helper()
	p := w.people[who]
	a := w.dial(p.cert)
	a.login(p)
	return a
}

func (a *actor) login(p *person) {
	a.w.t.Helper()
	nonce, message := a.hello(p.name, "")
	r := a.json("POST", "/auth/session", map[string]string{"user": p.name, "nonce": nonce, "signature": sign(p.key, message)})
	r.want(200)
	var c struct{ Token, Basic string }
	r.into(&c)
	a.token, a.basic = c.Token, c.Basic
}

func (a *actor) hello(user, fsName string) (nonce, message string) {
	a.w.t.Helper()
	body := map[string]string{"user": user}
	if fsName != "" {
		body["fs"] = fsName
	}
	var h struct{ Nonce, Message string }
	r := a.json("POST", "/auth/hello", body)
	r.want(200)
	r.into(&h)
	return h.Nonce, h.Message
}

func sign(key ed25519.PrivateKey, message string) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(message)))
}

// reply is an answer read whole.
type reply struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   []byte
	err    error // reading the body
}

// do makes a request. path is sent as it is; headers are "Name: value".
func (a *actor) do(method, path string, body any, headers ...string) *reply {
	a.w.t.Helper()
	resp, err := a.http.Do(a.request(method, path, body, headers...))
	if err != nil {
		a.w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	r := &reply{t: a.w.t, what: method + " " + path, status: resp.StatusCode, header: resp.Header}
	r.body, r.err = io.ReadAll(resp.Body)
	return r
}

func (a *actor) request(method, path string, body any, headers ...string) *http.Request {
	a.w.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	case []byte:
		in = bytes.NewReader(b)
	case io.Reader:
		in = b
	}
	req, err := http.NewRequest(method, a.w.url, in)
	must(a.w.t, err)
	raw, query, _ := strings.Cut(path, "?")
	req.URL.Opaque = "//" + a.w.host + raw // sent byte for byte
	req.URL.RawQuery = query
	for k, v := range a.header {
		req.Header[k] = v
	}
	if a.basic != "" {
		req.Header.Set("Authorization", "Basic "+a.basic)
	}
	if a.token != "" {
		req.Header.Set("EFS-Token", a.token)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Add(k, v)
	}
	return req
}

func (a *actor) json(method, path string, v any, headers ...string) *reply {
	a.w.t.Helper()
	b, err := json.Marshal(v)
	must(a.w.t, err)
	return a.do(method, path, b, append([]string{"Content-Type: application/json"}, headers...)...)
}

func (r *reply) want(status int) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: status %d, want %d: %s", r.what, r.status, status, r.body)
	}
	return r
}

func (r *reply) into(v any) {
	r.t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		r.t.Fatalf("%s: %v in %q", r.what, err, r.body)
	}
}

// wantProblem checks that the answer is the problem document of that kind.
func (r *reply) wantProblem(k *problemKind) *reply {
	r.t.Helper()
	r.want(k.status)
	var d document
	r.into(&d)
	if d.Type != ProblemBase+k.name || d.Title != k.title || d.Status != k.status || d.Detail == "" ||
		d.Instance != "urn:efs:request:"+r.header.Get("X-Request-Id") || r.header.Get("Content-Type") != "application/problem+json" {
		r.t.Fatalf("%s: problem %+v, want %s", r.what, d, k.name)
	}
	return r
}

// snapshot describes everything that a refused request must not change: the
// tree as users see it, and every blob on the disk.
func (w *world) snapshot() string {
	w.t.Helper()
	var out strings.Builder
	for _, f := range w.node.FileSystems() {
		entries, _, err := f.List(context.Background(), "", listAll)
		must(w.t, err)
		for _, e := range entries {
			fmt.Fprintln(&out, f.Name(), e.Path, e.ETag, e.Version)
		}
		err = filepath.WalkDir(filepath.Join(w.root, f.Name(), "files"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				// Blobs settle by themselves, which is no trace: names count.
				fmt.Fprintln(&out, d.Name())
			}
			return nil
		})
		must(w.t, err)
	}
	return out.String()
}

// eventually waits for what happens a moment later.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("not seen in ten seconds: " + what)
}

// quick makes everything that waits wait briefly.
func quick(_ *node.Config, c *Config, _ *Listener) {
	c.Limits.Heartbeat = 50 * time.Millisecond
	c.Limits.SlowClient = 400 * time.Millisecond
	c.Limits.HeaderTime = 400 * time.Millisecond
	c.Limits.Shutdown = 5 * time.Second
}

// oldHTTP is the same actor over HTTP/1.1.
func (a *actor) oldHTTP() *actor {
	tr := a.http.Transport.(conforms).tr.(*http.Transport).Clone()
	tr.ForceAttemptHTTP2 = false
	tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP1(true)
	a.w.t.Cleanup(tr.CloseIdleConnections)
	b := *a
	b.http = &http.Client{Transport: conforms{a.w.t, tr}, CheckRedirect: a.http.CheckRedirect}
	return &b
}
