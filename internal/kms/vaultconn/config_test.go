package vaultconn

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var good = Config{Address: "https://vault.example.org:8200", Auth: AuthAppRole, RoleID: "role", SecretIDFile: "/secret-id"}

func TestValidate(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "")
	for _, c := range []struct {
		change func(*Config)
		want   string // in the error; "" for none
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.Address = "http://127.0.0.1:8200" }, ""},
		{func(c *Config) { c.Address = "http://[::1]:8200/" }, ""},
		{func(c *Config) { c.Auth = AuthKubernetes; c.Role = "efs" }, ""},
		{func(c *Config) { c.Auth = AuthToken; c.TokenFile = "/token" }, ""},
		{func(c *Config) { c.Address = "" }, "address is missing"},
		{func(c *Config) { c.Address = "vault.example.org:8200" }, "not of the form"},
		{func(c *Config) { c.Address = "https://user:word@vault:8200" }, "not of the form"},
		{func(c *Config) { c.Address = "https://vault:8200/v1" }, "not of the form"},
		{func(c *Config) { c.Address = "unix:///run/vault.sock" }, "not of the form"},
		{func(c *Config) { c.Address = "ftp://vault" }, "only https"},
		{func(c *Config) { c.Address = "http://vault.example.org:8200" }, "use https"},
		{func(c *Config) { c.ClientCert = "/cert" }, "client_cert and client_key go together"},
		{func(c *Config) { c.Auth = "" }, `it is "token", "approle" or "kubernetes"`},
		{func(c *Config) { c.Auth = AuthToken }, "token_file"},
		{func(c *Config) { c.RoleID = "" }, "needs role_id"},
		{func(c *Config) { c.SecretIDFile = "" }, "needs secret_id_file"},
		{func(c *Config) { c.Auth = AuthKubernetes }, "needs role"},
	} {
		config := good
		c.change(&config)
		err := config.Validate()
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", config, err, c.want)
		}
	}
}

func TestUnusableFiles(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"reading ca_file":        func(c *Config) { c.CAFile = garbage + ".none" },
		"holds no certificate":   func(c *Config) { c.CAFile = garbage },
		"client_cert " + garbage: func(c *Config) { c.ClientCert, c.ClientKey = garbage, garbage },
	} {
		config := good
		change(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestTokensAreNotPrinted(t *testing.T) {
	s := &session{token: "hvs.SECRET"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, s); strings.Contains(text, "SECRET") {
			t.Errorf("%s: %s", format, text)
		}
	}
}
