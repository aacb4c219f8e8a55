// Package metrics checks what is shipped for Prometheus and Grafana against a
// real server.
package metrics

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

const deploy = "../../deploy"

// TestRules runs promtool on the configuration, the rules and their tests.
func TestRules(t *testing.T) {
	for _, args := range [][]string{
		{"check", "config", deploy + "/prometheus/prometheus.yaml"},
		{"check", "rules", "--lint-fatal", deploy + "/prometheus/alerts.yaml"},
		{"test", "rules", deploy + "/prometheus/alerts_test.yaml"},
	} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v (scripts/deps test installs it)\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// notYet are metrics that appear when what they count first happens, and did
// not happen here.
var notYet = map[string]bool{
	"efs_fs_quota_bytes":        true, // only where there is a quota
	"efs_audit_unsigned_events": true, // only once a head was signed
}

// TestEveryMetricNamedExists demands each metric that a rule or a panel names
// of a real server that was used a little, and that its metrics are in good
// form.
func TestEveryMetricNamedExists(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ops := l.Addr().String()
	l.Close()
	s := kit.New(t, "--ops-listen", ops)
	c := s.Client()
	if _, err := c.Put(t.Context(), "/a", strings.NewReader("text"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	rejectLogin(t, s)
	s.Ctl("backup", kit.FS, filepath.Join(t.TempDir(), "backups"))
	resp, err := http.Get("http://" + ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	lint := exec.Command("promtool", "check", "metrics")
	lint.Stdin = bytes.NewReader(page)
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z_0-9]+)[{ ]`).FindAllStringSubmatch(string(page), -1) {
		known[m[1]] = true
	}
	named := named(t)
	if len(named) < 30 {
		t.Errorf("only %d metrics are named", len(named))
	}
	for name, where := range named {
		if !known[name] && !notYet[name] {
			t.Errorf("%s names %s, which the server does not have", where, name)
		}
	}
}

// rejectLogin has a nonce rejected.
func rejectLogin(t *testing.T, s *kit.Server) {
	t.Helper()
	cmd := exec.Command("curl", "-s", "--cert", s.Out+"/clientCert.crt", "--cacert", s.Out+"/ca.crt", "-H", "Content-Type: application/json",
		"-d", `{"user":"`+kit.User+`","nonce":"bm8=","signature":"`+strings.Repeat("A", 86)+`=="}`, s.URL+"/auth/session")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "urn:efs:error:") {
		t.Fatalf("%v: %s", err, out)
	}
}

// named returns the metrics that rules and panels name, each with the file.
func named(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	note := func(file, expr string) {
		for _, name := range regexp.MustCompile(`\b(efs|process|go)_[a-z_0-9]+`).FindAllString(expr, -1) {
			found[name] = file
		}
	}
	rules, err := os.ReadFile(deploy + "/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^ *expr: (.*)$`).FindAllStringSubmatch(string(rules), -1) {
		note("alerts.yaml", m[1])
	}
	raw, err := os.ReadFile(deploy + "/grafana/efs.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			note("efs.json", target.Expr)
		}
	}
	return found
}
