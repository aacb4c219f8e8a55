package vault_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/vaultconn"
)

// use does all that a server with the lesser policy does.
func use(t testing.TB, k efs.KMS) error {
	key := make([]byte, 32)
	w, err := k.Wrap(t.Context(), "a", key, binding)
	if err == nil {
		_, err = k.Unwrap(t.Context(), "a", w, binding)
	}
	_, err2 := k.DescribeKey(t.Context(), "a")
	return errors.Join(err, err2, k.Ready(t.Context()))
}

// The policies for use suffice, and each of their lines is needed.
func TestDocumentedPolicies(t *testing.T) {
	for policy, openWith := range map[string]func(t *testing.T, s *server, c vaultconn.Config) efs.KMS{
		"efs-transit": func(t *testing.T, s *server, c vaultconn.Config) efs.KMS {
			s.Mount("transit", "transit", nil)
			s.Write("transit/keys/a", map[string]any{"type": "aes256-gcm96"})
			config := s.transit("efs-transit")
			config.Config = c
			return openTransit(t, config)
		},
		"efs-kv": func(t *testing.T, s *server, c vaultconn.Config) efs.KMS {
			s.mountKV()
			create(t, openKV(t, s.kv("efs-kv", "efs-kv-admin")))
			config := s.kv("efs-kv")
			config.Config = c
			return openKV(t, config)
		},
	} {
		t.Run(policy, func(t *testing.T) {
			s := start(t)
			rules := strings.Split(strings.TrimSpace(documented(t, policy)), "\n")
			for without := -1; without < len(rules); without++ {
				left := append([]string{}, rules...)
				if without >= 0 {
					left[without] = ""
				}
				s.Policy("tried", strings.Join(left, "\n"))
				token := s.Token(time.Hour, "tried")
				k := openWith(t, s, vaultconn.Config{Address: s.URL, CAFile: s.CAFile, Auth: "token", TokenFile: file(t, "token", token)})
				err := use(t, k)
				switch {
				case without < 0 && err != nil:
					t.Errorf("the whole policy does not suffice: %v", err)
				case without < 0:
					until(t, "the token is renewed", func() error {
						if s.renewed(token) {
							return nil
						}
						return errors.New("it never was")
					})
				case strings.Contains(rules[without], "renew-self"):
					// Its want shows only when the token should be renewed.
					if renewed := s.renewed(token); renewed {
						t.Error("the token was renewed without leave to")
					}
				case !errors.Is(err, efs.ErrRefused):
					t.Errorf("without %q: %v", rules[without], err)
				}
			}
		})
	}
}

// renewed reports whether a token was ever renewed.
func (s *server) renewed(token string) bool {
	s.t.Helper()
	answer, err := s.Root.Auth().Token().Lookup(token)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.Data["last_renewal"] != nil
}

// Taking the permission away is how a Transit key is disabled.
func TestPermissionTakenAway(t *testing.T) {
	each(t, func(t *testing.T, s *server, open func(string) efs.KMS) {
		w := wrap(t, open(s.URL))
		for _, p := range []string{"efs-transit", "efs-transit-admin", "efs-kv", "efs-kv-admin"} {
			s.Policy(p, `path "auth/token/lookup-self" { capabilities = ["read"] }`)
		}
		w.wantError("without permission", efs.ErrRefused)
		for _, p := range []string{"efs-transit", "efs-transit-admin", "efs-kv", "efs-kv-admin"} {
			s.Policy(p, documented(t, p))
		}
		w.mustOpen("with permission again")
	})
}

func TestNamespaceIsSent(t *testing.T) {
	s := start(t)
	c := s.transit("efs-transit")
	c.Namespace = "team/payroll"
	k := openTransit(t, c)
	done := make(chan error, 1)
	go func() {
		_, err := k.DescribeKey(t.Context(), "a")
		done <- err
	}()
	if got := (<-s.headers).Get("X-Vault-Namespace"); strings.Trim(got, "/") != "team/payroll" {
		t.Errorf("X-Vault-Namespace: %q", got)
	}
	<-done // this Vault has no namespaces, and says so
}
