package server

import (
	"bytes"
	"strings"
	"testing"

	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/tracing/otlp"
	"github.com/efs-project/efs/internal/tracing/tracingtest"
)

// traced returns a world whose traces go to a collector, and what stops it and
// returns them.
func traced(t *testing.T, ratio float64) (*world, func() []tracingtest.Span) {
	c := tracingtest.New(t)
	tr, err := otlp.Open(t.Context(), otlp.Options{Endpoint: c.URL, Ratio: ratio})
	must(t, err)
	w := newWorld(t, func(n *node.Config, _ *Config, _ *Listener) {
		n.Tracer, n.Audit = tr.Tracer(), node.AuditConfig{Enabled: true}
	})
	return w, func() []tracingtest.Span {
		must(t, w.stop())
		tr.Close(t.Context())
		return c.Spans()
	}
}

const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
	traceparent  = "Traceparent: 00-" + callersTrace + "-" + callersSpan + "-01"
)

// TestARequestIsTracedToItsCommit: its trace says what took how long, and no
// name of anything.
func TestARequestIsTracedToItsCommit(t *testing.T) {
	w, stop := traced(t, 1)
	a := w.as("alice@docs")
	id := a.do("PUT", "/data/secret-dir/secret-name", "text", "EFS-Meta-Ward: secret-meta", "X-Request-Id: the-small-one").want(201).header.Get("X-Request-Id")
	a.do("PUT", "/data/secret-large", bytes.Repeat([]byte("x"), 100<<10), "X-Request-Id: the-large-one").want(201)
	a.do("GET", "/data/secret-dir/secret-name", nil, "X-Request-Id: the-read").want(200)
	a.do("GET", "/data/secret-missing", nil, "X-Request-Id: the-missing").want(404)
	a.do("GET", "/readyz", nil).want(200)
	spans := stop()

	requests, under := map[string]tracingtest.Span{}, map[string][]string{}
	for _, s := range spans {
		if id := s.Attrs["efs.request_id"]; id != "" {
			requests[id] = s
		}
		if s.Name == "GET readyz" {
			t.Error("probes are traced")
		}
		for _, name := range []string{"secret", "alice", "docs", "127.0.0.1"} {
			if bytes.Contains(s.Raw, []byte(name)) {
				t.Errorf("%q is in %+v", name, s)
			}
		}
	}
	for _, s := range spans {
		under[s.Trace] = append(under[s.Trace], s.Name)
	}
	for _, tc := range []struct{ id, name, status, steps string }{
		{id, "PUT data", "201", "index.Commit fsys.Put"},
		{"the-large-one", "PUT data", "201", "blob.Write blob.Commit index.Commit fsys.Put"},
		{"the-read", "GET data", "200", "fsys.Open"},
		{"the-missing", "GET data", "404", "fsys.Open"},
	} {
		s := requests[tc.id]
		if s.Name != tc.name || s.Attrs["http.request.method"] != tc.name[:3] || s.Attrs["http.route"] != "data" ||
			s.Attrs["http.response.status_code"] != tc.status || s.Attrs["efs.fs_id"] == "" || s.Failed || s.Parent != "" {
			t.Errorf("%s: %+v", tc.id, s)
		}
		if got := strings.Join(under[s.Trace], " "); got != tc.steps+" "+tc.name {
			t.Errorf("%s: its trace has %s", tc.id, got)
		}
		if !strings.Contains(w.log.String(), `"trace":"`+s.Trace+`"`) {
			t.Errorf("%s: no line in the log has its trace", tc.id)
		}
	}
	if got := requests["the-missing"].Attrs["error.type"]; got != "not-found" {
		t.Errorf("why it was not answered: %q", got)
	}
}

// TestOnlyKnownCallersGoOnWithTheirTraces: whoever else sends a traceparent is
// traced as if none had come.
func TestOnlyKnownCallersGoOnWithTheirTraces(t *testing.T) {
	w, stop := traced(t, 0)
	a := w.as("alice@docs")
	a.do("PUT", "/data/a", "text", traceparent).want(201)
	a.do("PUT", "/data/b", "text").want(201)
	w.dial(w.people["bob@docs"].cert).do("GET", "/data/a", nil, traceparent).wantProblem(credentialsRequired)
	w.dial().do("GET", "/data/a", nil, traceparent).wantProblem(certificateRequired)
	spans := stop()
	for _, s := range spans {
		if s.Trace != callersTrace {
			t.Errorf("kept though nobody asked for it: %+v", s)
		}
		if s.Attrs["efs.request_id"] != "" && (s.Name != "PUT data" || s.Parent != callersSpan) {
			t.Errorf("%+v", s)
		}
	}
	if len(spans) != 3 { // the request, fsys.Put, index.Commit
		t.Errorf("%d spans: %+v", len(spans), spans)
	}
}

// TestRefusedRequestsAreTraced, whose callers are not known.
func TestRefusedRequestsAreTraced(t *testing.T) {
	w, stop := traced(t, 1)
	w.dial().do("GET", "/data/a", nil, traceparent, "X-Request-Id: refused").wantProblem(certificateRequired)
	for _, s := range stop() {
		if s.Attrs["efs.request_id"] == "refused" {
			if s.Trace == callersTrace || s.Attrs["error.type"] != certificateRequired.name {
				t.Errorf("%+v", s)
			}
			return
		}
	}
	t.Error("it was not traced")
}
