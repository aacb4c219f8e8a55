package vault_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

func TestSealedVault(t *testing.T) {
	each(t, func(t *testing.T, s *server, open func(string) efs.KMS) {
		k := open(s.URL)
		w := wrap(t, k)
		s.Seal()
		w.wantError("from a sealed Vault", efs.ErrUnavailable)
		err := k.Ready(t.Context())
		mustBe(t, "Ready", err, efs.ErrUnavailable)
		if err == nil || !strings.Contains(err.Error(), "sealed") {
			t.Errorf("Ready does not say why: %v", err)
		}
		other := wrapped{t, open(s.URL), w.key, w.bytes}
		other.wantError("by who never was logged in", efs.ErrUnavailable)
		s.Unseal()
		w.mustOpen("after unsealing")
		other.mustOpen("after unsealing")
		if err := k.Ready(t.Context()); err != nil {
			t.Errorf("Ready after unsealing: %v", err)
		}
	})
}

func TestRestartedVault(t *testing.T) {
	each(t, func(t *testing.T, s *server, open func(string) efs.KMS) {
		w := wrap(t, open(s.URL))
		s.Restart()
		w.wantError("from a Vault that was started and is sealed", efs.ErrUnavailable)
		s.Unseal()
		w.mustOpen("after a restart")
	})
}

// A second of latency is waited for, unless the caller does not.
func TestSlowVault(t *testing.T) {
	each(t, func(t *testing.T, s *server, open func(string) efs.KMS) {
		p := startProxy(t, s.URL)
		w := wrap(t, open(p.URL))
		p.Delay.Store(int64(time.Second))
		w.mustOpen("with a second of latency")
		p.Delay.Store(int64(time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := w.k.Unwrap(ctx, "a", w.bytes, binding)
		mustBe(t, "Unwrap with too little time", err, efs.ErrUnavailable)
		mustBe(t, "Unwrap with too little time", err, context.DeadlineExceeded)
	})
}

// Wherever a connection is cut, nothing wrong comes out, and the next works.
func TestCutConnections(t *testing.T) {
	each(t, func(t *testing.T, s *server, open func(string) efs.KMS) {
		w := wrap(t, open(s.URL))
		p := startProxy(t, s.URL)
		refused, opened := 0, 0
		for cut := int64(1); cut < 4000; cut += 61 {
			p.Cut.Store(cut)
			k := open(p.URL)
			switch err := (wrapped{t, k, w.key, w.bytes}).open(); {
			case err == nil:
				opened++
			case errors.Is(err, efs.ErrUnavailable):
				refused++
			default:
				t.Errorf("cut after %d bytes: %v", cut, err)
			}
			p.Cut.Store(0)
			wrapped{t, k, w.key, w.bytes}.mustOpen("after a cut")
		}
		if refused == 0 {
			t.Errorf("no cut was noticed; %d opened", opened)
		}
	})
}

func TestUnreachableVault(t *testing.T) {
	each(t, func(t *testing.T, s *server, open func(string) efs.KMS) {
		w := wrap(t, open(s.URL))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		plain := &http.Server{Handler: http.NotFoundHandler()}
		go plain.Serve(l)
		defer plain.Close()
		for what, address := range map[string]string{
			"nobody listens":          "https://127.0.0.1:1",
			"no TLS is spoken":        "https://" + l.Addr().String(),
			"the name does not exist": "https://vault.invalid:8200",
		} {
			wrapped{t, open(address), w.key, w.bytes}.wantError("where "+what, efs.ErrUnavailable)
		}
	})
}

// A Vault whose certificate is of another authority is told nothing.
func TestUntrustedVault(t *testing.T) {
	s, other := start(t), start(t)
	s.Mount("transit", "transit", nil)
	c := s.transit("efs-transit", "efs-transit-admin")
	create(t, openTransit(t, c))
	w := wrap(t, openTransit(t, c))
	c.CAFile = other.CAFile
	w.k = openTransit(t, c)
	w.wantError("from an untrusted Vault", efs.ErrUnavailable)
	if err := w.open(); !strings.Contains(err.Error(), "check ca_file") {
		t.Errorf("the error does not say what to check: %v", err)
	}
}
