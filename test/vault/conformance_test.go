package vault_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/kmstest"
	"github.com/efs-project/efs/internal/kms/vault"
	"github.com/efs-project/efs/internal/kms/vaultconn"
	"github.com/efs-project/efs/internal/kms/vaultkv"
)

var noStates = []string{"UpdateKey", "EnableKey", "DisableKey", "ScheduleDeletion", "CancelDeletion"}

// Both suites run with a token that has the policies printed in the
// documentation and none besides.
func TestTransitConforms(t *testing.T) {
	s := start(t)
	c := s.transit("efs-transit", "efs-transit-admin")
	kmstest.Run(t, kmstest.Harness{
		New: func(t *testing.T) efs.KMS {
			s.Mount("transit", "transit", nil)
			return openTransit(t, c)
		},
		Reopen:      func(t *testing.T, _ efs.KMS) efs.KMS { return openTransit(t, c) },
		Unsupported: noStates,
		Remote:      true,
	})
}

func TestKVConforms(t *testing.T) {
	s := start(t)
	c := s.kv("efs-kv", "efs-kv-admin")
	clock := kmstest.NewClock(time.Now())
	c.Clock = clock.Now
	kmstest.Run(t, kmstest.Harness{
		New: func(t *testing.T) efs.KMS {
			s.mountKV()
			return openKV(t, c)
		},
		Reopen:  func(t *testing.T, _ efs.KMS) efs.KMS { return openKV(t, c) },
		Advance: func(_ *testing.T, _ efs.KMS, d time.Duration) { clock.Advance(d) },
		Remote:  true,
	})
}

// transit is the settings of a provider with a token of these policies of the
// documentation.
func (s *server) transit(policies ...string) vault.Config {
	s.t.Helper()
	return vault.Config{Config: s.login(policies)}
}

// kv is as transit.
func (s *server) kv(policies ...string) vaultkv.Config {
	s.t.Helper()
	return vaultkv.Config{Config: s.login(policies), Logger: slog.New(slog.DiscardHandler)}
}

func (s *server) login(policies []string) vaultconn.Config {
	s.t.Helper()
	for _, p := range policies {
		s.Policy(p, documented(s.t, p))
	}
	return vaultconn.Config{Address: s.URL, CAFile: s.CAFile, Auth: "token", TokenFile: file(s.t, "token", s.Token(time.Hour, policies...)+"\n")}
}

func openTransit(t testing.TB, c vault.Config) *vault.KMS {
	t.Helper()
	k, err := vault.New(t.Context(), "hq", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func openKV(t testing.TB, c vaultkv.Config) *vaultkv.KMS {
	t.Helper()
	k, err := vaultkv.New(t.Context(), "hq", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}
