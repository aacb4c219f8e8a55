// Package tracingtest is an OTLP/HTTP receiver for tests.
package tracingtest

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is one that arrived.
type Span struct {
	Name, Trace, ID, Parent string // ids in hexadecimal; no parent: ""
	Attrs                   map[string]string
	Failed                  bool
	Resource                map[string]string // of whoever sent it
	Raw                     []byte            // as it was sent
}

// Collector keeps what it is sent.
type Collector struct {
	URL string // the base URL, for an endpoint

	t    testing.TB
	mu   sync.Mutex
	got  []Span
	deny bool
	came chan struct{}
}

// New starts a collector, which ends with the test.
func New(t testing.TB) *Collector {
	c := &Collector{t: t, came: make(chan struct{}, 1)}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.URL = s.URL
	return c
}

// Deny makes it refuse what comes, or take it again.
func (c *Collector) Deny(deny bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deny = deny
}

// Spans returns what has arrived so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// Wait waits until something arrives that was not waited for before.
func (c *Collector) Wait() { <-c.came }

// ServeHTTP takes an ExportTraceServiceRequest.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &req)
	}
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("%s %s %s: %v", r.Method, r.URL.Path, r.Header.Get("Content-Type"), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deny {
		w.WriteHeader(http.StatusForbidden)
	} else {
		c.take(&req)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}
	select {
	case c.came <- struct{}{}:
	default:
	}
}

func (c *Collector) take(req *collector.ExportTraceServiceRequest) {
	for _, rs := range req.ResourceSpans {
		about := attrs(rs.Resource.GetAttributes())
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				raw, err := proto.Marshal(s)
				if err != nil {
					c.t.Error(err)
				}
				c.got = append(c.got, Span{
					Name: s.Name, Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId),
					Parent: hex.EncodeToString(s.ParentSpanId), Attrs: attrs(s.Attributes),
					Failed: s.Status.GetCode() == spans.Status_STATUS_CODE_ERROR, Resource: about, Raw: raw,
				})
			}
		}
	}
}

func attrs(kvs []*common.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range kvs {
		switch v := kv.Value.GetValue().(type) {
		case *common.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[kv.Key] = strconv.FormatInt(v.IntValue, 10)
		default:
			m[kv.Key] = kv.Value.String()
		}
	}
	return m
}
