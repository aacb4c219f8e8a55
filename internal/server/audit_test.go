package server

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/internal/node"
)

// audited keeps an audit log.
func audited(c *node.Config, _ *Config, _ *Listener) { c.Audit.Enabled = true }

// events returns the lines about a request.
func (w *world) events(id string) (found []audit.Line) {
	w.t.Helper()
	must(w.t, w.node.Audit().Read(context.Background(), audit.Query{}, func(l *audit.Line) error {
		if l.Request == id {
			found = append(found, *l)
		}
		return nil
	}))
	return found
}

// TestEveryRouteAndMethodIsRecorded asks for everything that the server has,
// as somebody who may and as nobody, and demands one line of each request.
func TestEveryRouteAndMethodIsRecorded(t *testing.T) {
	w := newWorld(t, audited)
	alice, nobody := w.as("alice@docs"), w.dial()
	paths := map[route]string{
		routeData: "/data/a/file", routeObject: objectsPrefix + "docs/objects/a/file", routeChanges: "/changes",
		routeHello: "/auth/hello", routeSession: "/auth/session", routeRenew: "/auth/renew", routeCertificate: "/auth/certificate",
	}
	n := 0
	for r, e := range endpoints {
		if unaudited[r] {
			continue
		}
		path := paths[r]
		if path == "" {
			path = sampleAPIPath(r)
		}
		if path == "" {
			t.Errorf("route %s: tell this test a path of it", r)
			continue
		}
		for method := range e.methods {
			for _, a := range []*actor{alice, nobody} {
				if r == routeSession && method == http.MethodDelete && a == alice {
					a = w.as("alice@docs") // who is needed no more
				}
				n++
				id := "every-" + string(r) + "-" + method + "-" + string(rune('a'+n%26)) + string(rune('a'+n/26%26))
				reply := a.do(method, path, nil, "X-Request-Id: "+id, "Destination: /data/b")
				var lines []audit.Line
				eventually(t, "the line of "+method+" "+path, func() bool { lines = w.events(id); return len(lines) > 0 })
				l := lines[0]
				if len(lines) != 1 || l.Op == "" || l.From == "" || l.Method != method {
					t.Errorf("%s %s: %+v", method, path, lines)
				}
				if ok := reply.status < 400; ok != (l.Outcome == audit.Ok) {
					t.Errorf("%s %s answered %d, and the log says %s", method, path, reply.status, l.Outcome)
				}
				if a != nobody && (l.FS != "docs" || l.User != "alice") || a == nobody && l.User != "" {
					t.Errorf("%s %s: %+v", method, path, l)
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d requests", n)
	}
}

// traces returns the changes that tell of a request.
func (w *world) traces(id string) (found []efs.Change) {
	w.t.Helper()
	f, err := w.node.FS("docs")
	must(w.t, err)
	all, err := f.Changes(context.Background(), 0, 1000)
	must(w.t, err)
	for _, c := range all {
		if c.Origin != nil && c.Origin.Request == id {
			found = append(found, c)
		}
	}
	return found
}

// TestAChangeTellsOfItsRequest: what the line says is durable with the change,
// in one change of each request, to which its line points.
func TestAChangeTellsOfItsRequest(t *testing.T) {
	w := newWorld(t, audited)
	a := w.as("alice@docs")
	for _, c := range []struct{ id, method, path, to, op string }{
		{"store", "PUT", "/data/new/dir/f", "", "file.store"},
		{"again", "PUT", "/data/new/dir/f", "", "file.store"},
		{"make", "MKCOL", "/data/a/b/c/", "", "dir.create"},
		{"copy", "COPY", "/data/new/", "/data/all/", "dir.copy"},
		{"move", "MOVE", "/data/new/dir/f", "/data/other/f", "file.move"},
		{"over", "COPY", "/data/other/f", "/data/all/dir/f", "file.copy"},
		{"gone", "DELETE", "/data/all/?recursive=true", "", "dir.delete"},
	} {
		var body any
		if c.method == "PUT" {
			body = "text"
		}
		if r := a.do(c.method, c.path, body, "X-Request-Id: "+c.id, "Destination: "+c.to, "Overwrite: T"); r.status >= 300 {
			t.Fatalf("%s: %d %s", c.id, r.status, r.body)
		}
		told := w.traces(c.id)
		if len(told) != 1 {
			t.Fatalf("%s: %d changes tell of it", c.id, len(told))
		}
		o := told[0].Origin
		if o.Op != c.op || o.Method != c.method || o.From == "" || o.Session == "" || told[0].User != "alice" {
			t.Errorf("%s: %+v", c.id, o)
		}
		lines := w.events(c.id)
		if len(lines) != 1 || lines[0].Change != told[0].Seq || lines[0].FSID.IsZero() || lines[0].Late || lines[0].Op != c.op {
			t.Errorf("%s: %+v", c.id, lines)
		}
	}
	if feed := a.do("GET", "/changes", nil).want(200); strings.Contains(string(feed.body), "session") || strings.Contains(string(feed.body), "store") {
		t.Errorf("the feed tells of requests: %s", feed.body)
	}
}

func TestAStoreIsRecordedWithItsOutcome(t *testing.T) {
	w := newWorld(t, audited)
	a := w.as("alice@docs")
	a.do("PUT", "/data/x", "text", "X-Request-Id: the-store").want(201)
	lines := w.events("the-store")
	if len(lines) != 1 {
		t.Fatalf("%+v", lines)
	}
	l := lines[0]
	if l.Op != "file.store" || l.User != "alice" || l.FS != "docs" || l.Object.IsZero() || l.Session == "" || l.Outcome != audit.Ok {
		t.Errorf("%+v", l)
	}
	a.do("PUT", "/data/x", "text", "X-Request-Id: refused", `If-Match: "nothing"`).want(412)
	eventually(t, "the refusal", func() bool { return len(w.events("refused")) == 1 })
	if l := w.events("refused")[0]; l.Outcome != "precondition-failed" {
		t.Errorf("%+v", l)
	}
}

func TestLoginsAreRecordedWithTheirReasons(t *testing.T) {
	w := newWorld(t, audited)
	p := w.people["alice@docs"]
	a := w.dial(p.cert)
	nonce, message := a.hello("alice", "")
	a.json("POST", "/auth/session", map[string]string{"user": "alice", "nonce": nonce, "signature": sign(w.people["bob@docs"].key, message)}, "X-Request-Id: forged").wantProblem(authFailed)
	eventually(t, "the rejected login", func() bool { return len(w.events("forged")) == 1 })
	if l := w.events("forged")[0]; l.Op != "auth.login" || l.Outcome != "authentication-failed" || l.FS != "docs" {
		t.Errorf("%+v", l)
	}
}

// TestNothingIsChangedThatCannotBeRecorded: a log that is closed is one that
// cannot be written.
func TestNothingIsChangedThatCannotBeRecorded(t *testing.T) {
	w := newWorld(t, audited)
	a := w.as("alice@docs")
	a.do("PUT", "/data/old", "text").want(201)

	// What is under way when the log fails has its line at the next start: its
	// change tells of it.
	in, out := io.Pipe()
	late := make(chan *reply, 1)
	go func() { late <- a.do("PUT", "/data/late", in, "X-Request-Id: late") }()
	_, err := out.Write([]byte("the beginning"))
	must(t, err)
	eventually(t, "the upload under way", func() bool { return w.server.uploads.inside() == 1 })
	must(t, w.node.Audit().Close())
	must(t, out.Close())
	(<-late).want(201)
	if len(w.traces("late")) != 1 {
		t.Error("the change does not tell of its request")
	}

	before := w.snapshot()
	for _, c := range [][]string{{"PUT", "/data/new"}, {"DELETE", "/data/old"}, {"MOVE", "/data/old"}, {"COPY", "/data/old"}, {"MKCOL", "/data/d"}, {"PATCH", "/data/old"}} {
		r := a.do(c[0], c[1], nil, "Destination: /data/to").wantProblem(auditUnavailable)
		if !strings.Contains(string(r.body), "Nothing was changed") {
			t.Errorf("%s", r.body)
		}
	}
	if w.snapshot() != before {
		t.Error("something was changed")
	}
	if got := a.do("GET", "/data/old", nil).want(200); string(got.body) != "text" {
		t.Errorf("%s", got.body)
	}
	a.do("DELETE", "/auth/session", nil).want(503) // the session is over all the same
	a.do("GET", "/data/old", nil).wantProblem(sessionExpired)
}

// sampleAPIPath returns a path of a route of /api/v1.
func sampleAPIPath(r route) string {
	for _, p := range samplePaths {
		if t, err := findTarget(p); err == nil && t.route == r {
			return p
		}
	}
	return ""
}

// samplePaths are paths of /api/v1, of each route at least one.
var samplePaths = []string{
	"/api/v1/buckets", "/api/v1/buckets/docs", "/api/v1/buckets/docs/encryption", "/api/v1/buckets/docs/users",
	"/api/v1/buckets/docs/users/zoe", "/api/v1/buckets/docs/grants", "/api/v1/kms/keys", "/api/v1/kms/keys/k1",
	"/api/v1/kms/keys/k1/rotate", "/api/v1/kms/status", "/api/v1/cache/clear", "/api/v1/buckets/docs/archive",
	"/api/v1/buckets/docs/uploads", "/api/v1/buckets/docs/uploads/8d4f0f6e-0000-4000-8000-000000000000",
	"/api/v1/buckets/docs/uploads/8d4f0f6e-0000-4000-8000-000000000000/parts/1", "/api/v1/buckets/docs/uploads/8d4f0f6e-0000-4000-8000-000000000000/complete",
}
