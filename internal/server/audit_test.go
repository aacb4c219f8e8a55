package server

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

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

func TestAStoreIsRecordedBeforeItIsAnswered(t *testing.T) {
	w := newWorld(t, audited)
	a := w.as("alice@docs")
	a.do("PUT", "/data/x", "text", "X-Request-Id: the-store").want(201)
	before := w.node.Audit().Stats()
	lines := w.events("the-store")
	if len(lines) != 1 {
		t.Fatalf("%+v", lines)
	}
	l := lines[0]
	if l.Op != "file.store" || l.User != "alice" || l.FS != "docs" || l.Object.IsZero() || l.Session == "" || l.Outcome != audit.Ok || before.Events < l.Seq {
		t.Errorf("%+v of %d", l, before.Events)
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

	// A request that is under way when the log fails is not confirmed.
	in, out := io.Pipe()
	late := make(chan *reply, 1)
	go func() { late <- a.do("PUT", "/data/late", in) }()
	_, err := out.Write([]byte("the beginning"))
	must(t, err)
	eventually(t, "the upload under way", func() bool { return w.server.uploads.inside() == 1 })
	must(t, w.node.Audit().Close())
	must(t, out.Close())
	r := (<-late).wantProblem(auditUnavailable)
	if !strings.Contains(string(r.body), "was carried out") {
		t.Errorf("%s", r.body)
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
	"/api/v1/kms/keys/k1/rotate", "/api/v1/kms/status", "/api/v1/cache/clear",
}
