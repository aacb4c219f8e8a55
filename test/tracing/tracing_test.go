// Package tracing sends traces of a real server to a real OTLP/HTTP receiver.
package tracing

import (
	"bytes"
	"strings"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/tracing/tracingtest"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// use stores a file through s, and stops it.
func use(t *testing.T, s *kit.Server) {
	t.Helper()
	c := s.Client()
	if _, err := c.Put(t.Context(), "/secret-name", strings.NewReader("text"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Stop()
}

// TestTracesArriveBeforeTheServerHasStopped, as the settings say.
func TestTracesArriveBeforeTheServerHasStopped(t *testing.T) {
	c := tracingtest.New(t)
	t.Setenv("EFS_TRACING_ENDPOINT", c.URL)
	s := kit.New(t)
	use(t, s)
	found := map[string]tracingtest.Span{}
	for _, sp := range c.Spans() {
		found[sp.Name] = sp
		if bytes.Contains(sp.Raw, []byte("secret-name")) || bytes.Contains(sp.Raw, []byte(kit.User)) || bytes.Contains(sp.Raw, []byte(kit.FS)) {
			t.Errorf("a name is in %+v", sp)
		}
	}
	put := found["PUT data"]
	if put.Name == "" {
		put = found["POST data"]
	}
	if put.Attrs["http.response.status_code"] != "201" || found["fsys.Put"].Parent != put.ID || found["index.Commit"].Parent != found["fsys.Put"].ID {
		t.Errorf("the store: %+v", found)
	}
	if kms := found["kms.wrap"]; kms.Attrs["efs.kms.provider"] != "local" || kms.Attrs["efs.kms.outcome"] != "ok" {
		t.Errorf("the call of the KMS: %+v", kms)
	}
	if !strings.Contains(s.Log(), "trace="+put.Trace) {
		t.Error("the log does not have the trace")
	}
	if put.Resource["service.name"] != "efs-server" {
		t.Errorf("the sender: %v", put.Resource)
	}
}

// TestTheCommonVariableTurnsTracesOn, with the name that it gives the service.
func TestTheCommonVariableTurnsTracesOn(t *testing.T) {
	c := tracingtest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_SERVICE_NAME", "efs-ward-7")
	use(t, kit.New(t))
	if got := c.Spans(); len(got) == 0 || got[0].Resource["service.name"] != "efs-ward-7" {
		t.Errorf("arrived: %+v", got)
	}
}

// TestWithoutACollectorTheServerServes, and says once that nobody takes its
// traces.
func TestWithoutACollectorTheServerServes(t *testing.T) {
	c := tracingtest.New(t)
	c.Deny(true)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20") // ms
	t.Setenv("EFS_TRACING_ENDPOINT", c.URL)
	s := kit.New(t)
	c.Wait()
	use(t, s)
	if n := strings.Count(s.Log(), "traces cannot be sent"); n != 1 {
		t.Errorf("said %d times", n)
	}
}
