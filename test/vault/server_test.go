package vault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// A server whose file system has a stage in Vault: what is stored needs Vault,
// for no longer than a key lives; the server says so, and goes on when Vault does.
func TestServerWithStageInVault(t *testing.T) {
	v := withKey(t)
	c := v.appRole(map[string]any{"token_ttl": "1h"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ops := l.Addr().String()
	l.Close()
	s := kit.NewShipped(t, "--ops-listen", ops, "--config", file(t, "efs.toml", fmt.Sprintf(`
[kms]
key_ttl = "1s"
timeout = "2s"

[[kms.provider]]
name = "hq"
type = "vault"
address = %q
ca_file = %q
auth = "approle"
role_id = %q
secret_id_file = %q
`, c.Address, c.CAFile, c.RoleID, c.SecretIDFile)))
	s.Ctl("policy", kit.FS, "--set", "stages=AES256:local/default,CHACHA20_POLY1305:hq/a")
	efs := s.Client()
	content := kit.Pattern(1, 100_000)
	if _, err := efs.Put(t.Context(), "a/file", bytes.NewReader(content), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	read := func() error {
		got, err := efs.ReadFile(t.Context(), "a/file")
		if err == nil && !bytes.Equal(got, content) {
			t.Error("another content was read than was stored")
		}
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}

	v.Seal()
	until(t, "reads fail when the keys' life is over", failing(read, http.StatusServiceUnavailable))
	until(t, "readiness says why", func() error { return readiness(ops, "KMS hq") })
	v.Unseal()
	until(t, "reads go on", read)
	until(t, "it is ready", func() error { return readiness(ops, "") })

	v.Policy("efs-transit", `path "auth/token/lookup-self" { capabilities = ["read"] }`)
	until(t, "reads fail when Vault refuses", failing(read, http.StatusServiceUnavailable, http.StatusForbidden))
	v.Policy("efs-transit", documented(t, "efs-transit"))
	until(t, "reads go on", read)

	// It starts also while Vault is sealed, and opens what waits for it.
	s.Stop()
	v.Seal()
	s.Start() // ready: other file systems are served
	until(t, "it says what waits for Vault", func() error { return readiness(ops, "KMS hq") })
	v.Unseal()
	until(t, "all of it is ready", func() error { return readiness(ops, "") })
	efs = s.Client()
	if err := read(); err != nil {
		t.Error(err)
	}
	secretID, err := os.ReadFile(c.SecretIDFile)
	if err != nil || !strings.HasPrefix(v.Root.Token(), "hvs.") {
		t.Fatalf("tokens begin in another way: %v", err)
	}
	if log := s.Log(); strings.Contains(log, "hvs.") || strings.Contains(log, string(secretID)) {
		t.Error("a token or the secret id is in the log")
	}
}

// failing wants an answer with one of these statuses.
func failing(fn func() error, statuses ...int) func() error {
	return func() error {
		var answer *client.Error
		err := fn()
		if errors.As(err, &answer) {
			for _, s := range statuses {
				if answer.Status == s {
					return nil
				}
			}
		}
		return fmt.Errorf("got %v", err)
	}
}

// readiness wants /readyz to give a reason with this text, or to be ready and
// give none ("").
func readiness(ops, reason string) error {
	resp, err := http.Get("http://" + ops + "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var r struct {
		Ready   bool     `json:"ready"`
		Reasons []string `json:"reasons"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return err
	}
	if (reason == "") != (r.Ready && len(r.Reasons) == 0) || !strings.Contains(strings.Join(r.Reasons, "\n"), reason) {
		return fmt.Errorf("readiness: %s", body)
	}
	return nil
}
