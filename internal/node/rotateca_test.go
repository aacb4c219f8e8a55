package node

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

// turned is a clock that a test turns.
type turned struct {
	mu sync.Mutex
	by time.Duration
}

func (c *turned) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.by)
}

func (c *turned) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by += d
}

// trusts is nil if a client with these authorities takes the server's
// certificate.
func trusts(t *testing.T, n *Node, at time.Time, ca []byte) error {
	t.Helper()
	cert, err := n.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	roots, rest := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, der := range cert.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		rest.AddCert(c)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: rest, DNSName: "localhost", CurrentTime: at})
	return err
}

// Clients that trust only the former authority connect until the overlap is
// over, those with the new ca.crt before and after.
func TestRotateServerCA(t *testing.T) {
	r, c := newRig(t), &turned{}
	cfg := r.config()
	cfg.Clock, cfg.Key = c.now, r.found()
	n := r.openWith(cfg)
	old, err := n.ServerCA()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.RotateServerCA(bg, 30*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	_, err = n.RotateServerCA(bg, time.Hour)
	wantError(t, "again at once", err, efs.ErrRefused)
	both, err := n.ServerCA()
	if err != nil || !bytes.Contains(both, old) || bytes.Equal(both, old) {
		t.Fatalf("the bundle is %s (%v)", both, err)
	}
	check := func(what string, oldTrusts bool) {
		t.Helper()
		if err := trusts(t, n, c.now(), old); (err == nil) != oldTrusts {
			t.Errorf("%s: a client with the old ca.crt: %v", what, err)
		}
		if err := trusts(t, n, c.now(), both); err != nil {
			t.Errorf("%s: a client with the new ca.crt: %v", what, err)
		}
	}
	again := func() {
		closeNode(t, n)
		cfg.Key = r.found()
		n = r.openWith(cfg)
		if s := n.Status(bg); len(s.Problems) > 0 {
			t.Errorf("found at start: %q", s.Problems)
		}
	}
	check("at once", true)
	again()
	check("after a restart", true)
	c.pass(29 * 24 * time.Hour)
	if err := n.secrets().tls.refresh(); err != nil {
		t.Fatal(err)
	}
	check("a day before the end", true)
	c.pass(2 * 24 * time.Hour)
	if err := n.secrets().tls.refresh(); err != nil {
		t.Fatal(err)
	}
	check("after the end", false)
	again()
	check("after the end, restarted", false)
	now, err := os.ReadFile(filepath.Join(r.root, serverDir, "ca.crt"))
	if err != nil || bytes.Contains(now, old) || !bytes.Contains(both, now) {
		t.Errorf("ca.crt is %s (%v)", now, err)
	}
	if _, err := n.RotateServerCA(bg, 0); err != nil {
		t.Errorf("the next rotation: %v", err)
	}
	if trusts(t, n, c.now(), now) == nil {
		t.Error("without an overlap, the old authority's certificate is still shown")
	}
}
