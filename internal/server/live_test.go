package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/node"
	"github.com/pires/go-proxyproto"
)

// raw opens a TLS connection to write HTTP/1.1 to by hand.
func (a *actor) raw() net.Conn {
	a.w.t.Helper()
	c := a.http.Transport.(conforms).tr.(*http.Transport).TLSClientConfig.Clone()
	c.NextProtos = []string{"http/1.1"}
	conn, err := tls.Dial("tcp", a.w.host, c)
	must(a.w.t, err)
	a.w.t.Cleanup(func() { conn.Close() })
	return conn
}

func (a *actor) head(method, path, more string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nEFS-Token: %s\r\n%s\r\n", method, path, a.w.host, a.basic, a.token, more)
}

func TestAbortedUploadsLeaveNoTrace(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	a.do("PUT", "/data/keep", "old").want(201)
	before := w.snapshot()
	for _, size := range []int{100, 1 << 20} {
		for _, path := range []string{"/data/keep", "/data/fresh/file"} {
			for _, frame := range []string{fmt.Sprintf("Content-Length: %d\r\n", size), "Transfer-Encoding: chunked\r\n"} {
				conn := a.raw()
				fmt.Fprint(conn, a.head("PUT", path, frame))
				if strings.HasPrefix(frame, "T") {
					fmt.Fprintf(conn, "%x\r\n", size)
				}
				conn.Write(make([]byte, size/2))
				conn.(*tls.Conn).CloseWrite()
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err == nil && resp.StatusCode != 400 {
					t.Errorf("half a body: %s", resp.Status)
				}
				conn.Close()
			}
		}
	}
	eventually(t, "nothing is under way", func() bool { return w.server.work.Load() == 0 })
	if after := w.snapshot(); after != before {
		t.Errorf("a trace was left:\n%s\nbefore:\n%s", after, before)
	}
}

func TestExpectContinueIsAnsweredOnlyWhenTheBodyIsWanted(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	conn := a.raw()
	in := bufio.NewReader(conn)
	fmt.Fprint(conn, a.head("PUT", "/data/f", "Expect: 100-continue\r\nContent-Length: 5\r\n"))
	line, err := in.ReadString('\n')
	if err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	in.ReadString('\n')
	io.WriteString(conn, "hello")
	resp, err := http.ReadResponse(in, nil)
	must(t, err)
	if resp.StatusCode != 201 {
		t.Error(resp.Status)
	}
	conn = a.raw()
	fmt.Fprint(conn, a.head("PUT", "/data/f", "Expect: 100-continue\r\nContent-Length: 5\r\nIf-None-Match: broken\r\n"))
	resp, err = http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	if resp.StatusCode != 400 {
		t.Error(resp.Status)
	}
	conn = a.raw()
	fmt.Fprint(conn, a.head("PUT", "/data/f", "Expect: 100-continue\r\nContent-Length: 3000000\r\nIf-None-Match: *\r\n"))
	resp, err = http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	if resp.StatusCode != 412 {
		t.Error("a large body that may not be stored:", resp.Status)
	}
}

// A client that goes on sending after its store has failed is heard out, and
// not reset: many clients listen only when they are done, and would never hear
// why it failed.
func TestRefusalReachesAClientThatIsStillSending(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	a.do("MKCOL", "/data/dir", nil).want(201)
	conn := a.raw()
	half := make([]byte, 1<<20)
	fmt.Fprint(conn, a.head("PUT", "/data/dir", "Content-Length: 2097152\r\n"))
	if _, err := conn.Write(half); err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond) // net/http by itself would close after 500
	if _, err := conn.Write(half); err != nil {
		t.Fatalf("the connection was closed under the body: %v", err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	if resp.StatusCode != 409 {
		t.Error(resp.Status)
	}
	if resp.Close {
		t.Error("the whole body was read, yet the connection is not kept")
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	w := newWorld(t, quick, func(_ *node.Config, c *Config, _ *Listener) { c.Limits.MinRate = 1 << 20 })
	a := w.as("alice@docs")
	a.do("PUT", "/data/big", make([]byte, 32<<20)).want(201)
	before := w.snapshot()
	for name, speak := range map[string]func(net.Conn){
		"silence":             func(net.Conn) {},
		"half a header":       func(c net.Conn) { io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n") },
		"a pause in the body": func(c net.Conn) { io.WriteString(c, a.head("PUT", "/data/slow", "Content-Length: 100\r\n")+"x") },
		"a body refused and not sent": func(c net.Conn) {
			io.WriteString(c, "PUT /data/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
		},
		"a trickle": func(c net.Conn) {
			io.WriteString(c, a.head("PUT", "/data/slow", "Content-Length: 1000000\r\n"))
			for range 400 {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		},
		"an answer not taken": func(c net.Conn) { io.WriteString(c, a.head("GET", "/data/big", "")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			conn := a.raw()
			speak(conn)
			if name == "an answer not taken" {
				time.Sleep(time.Second)
			}
			must(t, conn.SetReadDeadline(time.Now().Add(8*time.Second)))
			n, err := io.Copy(io.Discard, conn)
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Errorf("still connected after %v", time.Since(began))
			}
			if n >= 32<<20 {
				t.Error("the whole file was delivered")
			}
		})
	}
	t.Cleanup(func() {
		if after := w.snapshot(); after != before {
			t.Errorf("a trace was left:\n%s", after)
		}
	})
}

func TestASteadyLargeUploadOutlastsEveryTimeout(t *testing.T) {
	w := newWorld(t, quick)
	for _, a := range []*actor{w.as("alice@docs"), w.as("bob@docs").oldHTTP()} {
		pr, pw := io.Pipe()
		hash := sha256.New()
		go func() {
			for range 30 { // 1.5 s, four times SlowClient
				b := randomBytes(20_000)
				hash.Write(b)
				pw.Write(b)
				time.Sleep(50 * time.Millisecond)
			}
			pw.Close()
		}()
		r := a.do("PUT", "/data/steady", io.Reader(pr))
		if r.status/100 != 2 || r.header.Get("Repr-Digest") != formatDigest(hash.Sum(nil)) {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
}

func TestTooManyAtOnce(t *testing.T) {
	w := newWorld(t, func(_ *node.Config, c *Config, _ *Listener) { c.Limits.Uploads = 1 })
	a := w.as("alice@docs")
	pr, pw := io.Pipe()
	done := make(chan *reply)
	go func() { done <- a.do("PUT", "/data/one", io.Reader(pr)) }()
	pw.Write([]byte("begun"))
	eventually(t, "the upload is under way", func() bool { return w.server.uploads.inside() == 1 })
	r := a.do("PUT", "/data/two", make([]byte, 1<<20)).wantProblem(tooBusy)
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	a.do("PUT", "/data/small", "small ones go through").want(201)
	pw.Close()
	(<-done).want(201)
	a.do("PUT", "/data/two", make([]byte, 1<<20)).want(201)
}

func TestShutdownFinishesWhatItAccepted(t *testing.T) {
	w := newWorld(t, quick)
	a := w.as("alice@docs")
	feed, err := a.http.Do(a.request("GET", "/changes?follow=true", nil))
	must(t, err)
	defer feed.Body.Close()
	pr, pw := io.Pipe()
	done := make(chan *reply)
	go func() { done <- a.do("PUT", "/data/late", io.Reader(pr)) }()
	pw.Write([]byte("first "))
	eventually(t, "the upload is under way", func() bool { return w.server.uploads.inside() == 1 })
	stopped := make(chan error)
	go func() { stopped <- w.stop() }()
	eventually(t, "the server is stopping", w.server.stopping.Load)
	time.Sleep(50 * time.Millisecond)
	pw.Write([]byte("second"))
	pw.Close()
	(<-done).want(201)
	if _, err := io.Copy(io.Discard, feed.Body); err != nil {
		t.Errorf("the feed did not end in good order: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	f, err := w.node.FS("docs")
	must(t, err)
	if e, err := f.Stat(context.Background(), "late"); err != nil || e.Size != 12 {
		t.Errorf("%+v, %v", e, err)
	}
	if n := w.server.conns.count(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestHealthWithAndWithoutKeys(t *testing.T) {
	w := newWorld(t, func(n *node.Config, _ *Config, _ *Listener) { n.Key = nil })
	a := w.dialTLS(&tls.Config{InsecureSkipVerify: true})
	a.do("GET", "/livez", nil).want(200)
	a.do("HEAD", "/livez", nil).want(200)
	var r readiness
	a.do("GET", "/readyz", nil).want(503).into(&r)
	if r.Ready || r.State != node.StateWaiting || len(r.Reasons) == 0 {
		t.Errorf("%+v", r)
	}
	a.do("GET", "/data/f", nil).wantProblem(sealed)
	a.json("POST", "/auth/hello", map[string]string{"user": "alice"}).wantProblem(sealed)
	must(t, w.node.Init(context.Background(), func([]byte) error { return nil }))
	a.do("GET", "/readyz", nil).want(200)
	a.do("GET", "/data/f", nil).wantProblem(certificateRequired)
}

func TestOpsListener(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	a.do("PUT", "/data/secret-name", "x").want(201)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ops := &http.Server{Handler: w.server.OpsHandler()}
	go ops.Serve(ln)
	defer ops.Close()
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + ln.Addr().String() + path)
		must(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		must(t, err)
		return resp.StatusCode, string(b)
	}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/metrics": 200, "/data/secret-name": 404, "/": 404, "/auth/hello": 404} {
		if status, body := get(path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	_, page := get("/metrics")
	for _, want := range []string{`efs_http_requests_total{method="PUT",route="data",status="201"} 1`, `efs_fs_files{fs="docs"} 1`, `efs_fs_up{fs="other"} 1`,
		`efs_handshakes_total{outcome="opened"} 1`, "efs_sessions 1", "efs_ready 1", "efs_index_commits_total"} {
		if !strings.Contains(page, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	a.do("GET", "/metrics", nil).wantProblem(forbidden) // sums over all tell a user of others
	admin := string(w.admin("root").do("GET", "/metrics", nil).want(200).body)
	if !strings.Contains(admin, `efs_fs_files{fs="docs"} 1`) {
		t.Error("an administrator's /metrics tells nothing of file systems")
	}
}

func TestLogsTellWhatHappenedAndNoSecrets(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	names := []string{"canary-dir", "canary-file", "canary-meta", "canary-type", "canary-content", "canary-query"}
	a.do("PUT", "/data/canary-dir/canary-file", "canary-content", "EFS-Meta-X: canary-meta", "Content-Type: canary-type", "X-Request-Id: my-request").want(201)
	a.do("GET", "/data/canary-dir/canary-file/x", nil)
	a.do("GET", "/data/canary-dir/?after=canary-query", nil).want(200)
	a.do("MOVE", "/data/canary-dir", nil, "Destination: /data/canary-dir/canary-file")
	a.do("DELETE", "/data/canary-dir", nil)
	for _, b := range w.blobs("docs") {
		t.Errorf("a small file became a blob: %s", b)
	}
	eventually(t, "the requests are logged", func() bool { return strings.Contains(w.log.String(), `"method":"DELETE"`) })
	text := w.log.String()
	for _, secret := range append(names, a.token, a.basic) {
		if strings.Contains(text, secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
	f, err := w.node.FS("docs")
	must(t, err)
	e, err := f.Stat(context.Background(), "canary-dir/canary-file")
	must(t, err)
	for _, want := range []string{`"id":"my-request","route":"data","method":"PUT","status":201`, `"user":"alice"`, `"object":"` + e.File.String(), `"problem":"not-empty"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not tell %s", want)
		}
	}
}

func TestClientCertOnlyFromListedProxies(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	elsewhere := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, c := range map[string]struct {
		from []netip.Prefix
		sent bool
		want int
	}{"listed": {loopback, true, 201}, "listed, without": {loopback, false, 401}, "not listed": {elsewhere, true, 401}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(_ *node.Config, _ *Config, l *Listener) { l.ClientCert = c.from })
			p := w.people["alice@docs"]
			header := "Client-Cert: :" + base64.StdEncoding.EncodeToString(p.cert.Certificate[0]) + ":"
			proxy := w.dial()
			if c.want == 201 {
				proxy.header.Set("Client-Cert", strings.TrimPrefix(header, "Client-Cert: "))
				proxy.login(p)
			}
			var headers []string
			if c.sent && c.want != 201 {
				headers = append(headers, header)
			}
			proxy.do("PUT", "/data/f", "x", headers...).want(c.want)
			if c.want == 201 {
				bob := w.people["bob@docs"] // the next request on the same connection is somebody else's
				proxy.header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(bob.cert.Certificate[0])+":")
				proxy.do("GET", "/data/f", nil).wantProblem(sessionBound)
				proxy.header.Set("Client-Cert", "garbage")
				proxy.do("GET", "/data/f", nil).wantProblem(badHeader)
				f, err := w.node.FS("docs")
				must(t, err)
				must(t, f.Users.Revoke(context.Background(), "bob"))
				proxy.header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(bob.cert.Certificate[0])+":")
				proxy.do("GET", "/data/f", nil).wantProblem(certificateRevoked)
			}
		})
	}
}

func TestPlainListenerTakesProxiesOnly(t *testing.T) {
	w := newWorld(t)
	for want, from := range map[*problemKind]string{misdirected: "192.0.2.0/24", certificateRequired: "127.0.0.0/8"} {
		h := w.server.Handler(Listener{Plain: true, ClientCert: []netip.Prefix{netip.MustParsePrefix(from)}})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		s := &http.Server{Handler: h}
		go s.Serve(ln)
		defer s.Close()
		resp, err := http.Get("http://" + ln.Addr().String() + "/data/f")
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		resp.Body.Close()
		if !bytes.Contains(body, []byte(want.name)) {
			t.Errorf("%s: %s", from, body)
		}
	}
}

func TestProxyProtocol(t *testing.T) {
	w := newWorld(t, func(_ *node.Config, _ *Config, l *Listener) {
		l.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	var once sync.Once
	a := w.dial()
	tr := a.http.Transport.(conforms).tr.(*http.Transport)
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			once.Do(func() {
				h := proxyproto.HeaderProxyFromAddrs(2, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 4711}, c.LocalAddr())
				_, err = h.WriteTo(c)
			})
		}
		return c, err
	}
	a.do("GET", "/data/f", nil).wantProblem(certificateRequired)
	eventually(t, "the client's own address is logged", func() bool { return strings.Contains(w.log.String(), `"from":"203.0.113.7:4711"`) })
	tr.CloseIdleConnections()
	if resp, err := a.http.Do(a.request("GET", "/livez", nil)); err == nil {
		resp.Body.Close()
		t.Error("a listed proxy was let in without its header")
	}
}

// A user who is deleted gets nothing more done, whatever request is under way:
// here one whose body, which nobody reads, hides that the connection is gone.
func TestACopyEndsWithItsUser(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	const files = 300
	for i := range files {
		a.do("PUT", fmt.Sprintf("/data/from/%d", i), "x").want(201)
	}
	c := a.raw()
	_, err := io.WriteString(c, a.head("COPY", "/data/from", "Destination: /data/to\r\nContent-Length: 5\r\n"))
	must(t, err)
	f, err := w.node.FS("docs")
	must(t, err)
	copied := func() int {
		entries, _, err := f.List(t.Context(), "", listAll)
		must(t, err)
		return len(entries) - files - 2
	}
	eventually(t, "the copy has begun", func() bool { return copied() > 0 })
	must(t, f.Users.DeleteUser(t.Context(), "alice"))
	eventually(t, "the request has ended", func() bool { return w.server.work.Load() == 0 })
	if n := copied(); n == files {
		t.Errorf("all %d files were copied", n)
	}
}

// What goes wrong before there is a request concerns its connection alone.
func TestAPanicInAHandshakeEndsOneConnection(t *testing.T) {
	var armed atomic.Bool
	var w *world
	w = newWorld(t, func(_ *node.Config, c *Config, _ *Listener) {
		c.Certificate = func() (*tls.Certificate, error) {
			if armed.Swap(false) {
				panic("certificate")
			}
			return w.node.Certificate()
		}
	})
	a := w.as("alice@docs")
	a.do("PUT", "/data/f", "x").want(201)
	armed.Store(true)
	if c, err := tls.Dial("tcp", w.host, &tls.Config{RootCAs: w.roots}); err == nil {
		c.Close()
		t.Error("the handshake succeeded")
	}
	eventually(t, "it is logged", func() bool { return strings.Contains(w.log.String(), "connection panicked") })
	a.do("GET", "/data/f", nil).want(200)
	eventually(t, "it is closed", func() bool { return w.server.conns.count() == 1 })
}

func TestConnectionsAreBounded(t *testing.T) {
	w := newWorld(t, func(_ *node.Config, c *Config, _ *Listener) { c.Limits.Connections = 2 })
	w.server.conns.mu.Lock()
	w.server.conns.maxStrange = 2 // of the whole bound
	w.server.conns.mu.Unlock()
	a := w.dial()
	first, second := a.raw(), a.raw()
	third, err := net.Dial("tcp", w.host)
	must(t, err)
	defer third.Close()
	must(t, third.SetReadDeadline(time.Now().Add(5*time.Second)))
	if _, err := third.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the third connection: %v", err)
	}
	first.Close()
	second.Close()
	eventually(t, "there is room again", func() bool { return w.server.conns.count() == 0 })
	a.do("GET", "/livez", nil).want(200)
}
