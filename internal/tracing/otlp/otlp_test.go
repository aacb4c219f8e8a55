package otlp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/tracing/otlp"
	"github.com/efs-project/efs/internal/tracing/tracingtest"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func open(t *testing.T, endpoint string, ratio float64) (*otlp.Sender, *lines) {
	t.Helper()
	log := &lines{}
	tr, err := otlp.Open(t.Context(), otlp.Options{Endpoint: endpoint, Ratio: ratio, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return tr, log
}

func TestStepsBelongToTheirRequest(t *testing.T) {
	c := tracingtest.New(t)
	tr, _ := open(t, c.URL, 1)
	ctx, request := tr.Tracer().Request(t.Context(), "", time.Now())
	request.Name("PUT data")
	inner, step := tr.Tracer().Step(ctx, "fsys.Put")
	_, call := tr.Tracer().Call(inner, "kms.unwrap")
	call.Text("efs.kms.provider", "vault")
	call.End()
	step.EndWith(fmt.Errorf("'secret-name': %w", efs.ErrQuota))
	request.End()
	_, alone := tr.Tracer().Step(t.Context(), "nobody's")
	alone.End()
	tr.Close(t.Context())

	by := byName(c.Spans())
	if len(by) != 3 {
		t.Fatalf("%d spans arrived: %v", len(by), by)
	}
	root, put, kms := by["PUT data"], by["fsys.Put"], by["kms.unwrap"]
	if root.Trace != request.TraceID() || root.Parent != "" || put.Parent != root.ID || kms.Parent != put.ID || kms.Trace != root.Trace {
		t.Errorf("they do not hang together: %+v", by)
	}
	if !put.Failed || put.Attrs["error.type"] != "quota" || bytes.Contains(put.Raw, []byte("secret-name")) {
		t.Errorf("the failed step: %+v", put)
	}
	if kms.Failed || kms.Attrs["efs.kms.provider"] != "vault" {
		t.Errorf("the call: %+v", kms)
	}
	if root.Resource["service.name"] != "efs-server" || root.Resource["service.instance.id"] == "" {
		t.Errorf("the sender: %v", root.Resource)
	}
}

// TestWhoseTraceGoesOn: a caller's traceparent brings its trace and its
// decision; without one the ratio decides.
func TestWhoseTraceGoesOn(t *testing.T) {
	for _, tc := range []struct {
		what, parent string
		ratio        float64
		kept         bool
		trace        string
	}{
		{"ratio 1", "", 1, true, ""},
		{"ratio 0", "", 0, false, ""},
		{"sampled by the caller", parent, 0, true, parent[3:35]},
		{"not sampled by the caller", parent[:53] + "00", 1, false, ""},
		{"malformed", "00-xyz", 1, true, ""},
		{"all zero", "00-00000000000000000000000000000000-0000000000000000-01", 1, true, ""},
		{"a later version", "cc" + parent[2:] + "-more", 0, true, parent[3:35]},
	} {
		t.Run(tc.what, func(t *testing.T) {
			c := tracingtest.New(t)
			tr, _ := open(t, c.URL, tc.ratio)
			ctx, request := tr.Tracer().Request(t.Context(), tc.parent, time.Now())
			_, step := tr.Tracer().Step(ctx, "step")
			step.End()
			_, call := tr.Tracer().Call(ctx, "call")
			call.End()
			request.End()
			tr.Close(t.Context())
			spans := c.Spans()
			if kept := len(spans) == 3; kept != tc.kept || !kept && len(spans) > 0 {
				t.Fatalf("%d spans arrived", len(spans))
			}
			if tc.kept != (request.TraceID() != "") {
				t.Errorf("trace id %q", request.TraceID())
			}
			if tc.trace != "" && (request.TraceID() != tc.trace || byName(spans)["request"].Parent != parent[36:52]) {
				t.Errorf("another trace: %+v", spans)
			}
		})
	}
}

// TestACollectorThatIsAwayIsReportedOnce, and when it takes traces again.
func TestACollectorThatIsAwayIsReportedOnce(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1") // ms
	c := tracingtest.New(t)
	c.Deny(true)
	tr, log := open(t, c.URL, 1)
	one := func() {
		_, s := tr.Tracer().Request(t.Context(), "", time.Now())
		s.End()
		c.Wait()
	}
	for range 3 {
		one()
	}
	c.Deny(false)
	for range 3 {
		one()
	}
	tr.Close(t.Context())
	if n := strings.Count(log.String(), "traces cannot be sent"); n != 1 {
		t.Errorf("said %d times that traces are lost:\n%s", n, log)
	}
	if n := strings.Count(log.String(), "traces are sent again"); n != 1 {
		t.Errorf("said %d times that all is well:\n%s", n, log)
	}
	if len(c.Spans()) == 0 {
		t.Error("nothing arrived afterwards")
	}
}

// TestNobodyIsHeldUp: where nobody listens, any number of requests goes by and
// the end is reached all the same.
func TestNobodyIsHeldUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "http://" + l.Addr().String()
	l.Close()
	tr, log := open(t, endpoint, 1)
	for range 20_000 { // far more than wait in the queue
		_, s := tr.Tracer().Request(t.Context(), "", time.Now())
		s.End()
	}
	tr.Close(t.Context())
	if n := strings.Count(log.String(), "level=WARN"); n < 1 || n > 2 {
		t.Errorf("%d warnings:\n%s", n, log)
	}
}

func TestEndpointsThatAreNone(t *testing.T) {
	for _, endpoint := range []string{"", "collector:4318", "ftp://collector", "http://", "http://user:pw@collector:4318"} {
		if _, err := otlp.Open(context.Background(), otlp.Options{Endpoint: endpoint}); !errors.Is(err, efs.ErrBadInput) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

func byName(spans []tracingtest.Span) map[string]tracingtest.Span {
	m := map[string]tracingtest.Span{}
	for _, s := range spans {
		m[s.Name] = s
	}
	return m
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
