package open

import (
	"slices"
	"strings"
	"testing"

	"github.com/efs-project/efs/internal/config"
)

func vaultProvider(typ string, more map[string]any) []config.Provider {
	options := map[string]any{"address": "https://vault.example.org:8200", "auth": "approle", "role_id": "r", "secret_id_file": "/run/secret-id"}
	for k, v := range more {
		options[k] = v
	}
	return []config.Provider{{Name: "hq", Type: typ, Options: options}}
}

// What the types for Vault have in common are options of each.
func TestVaultOptions(t *testing.T) {
	for typ, own := range map[string]map[string]any{"vault": {"mount": "transit"}, "vault-kv": {"path": "efs", "cache_ttl": "30s"}} {
		providers, err := Providers(t.Context(), vaultProvider(typ, own))
		if err != nil {
			t.Errorf("%s: %v", typ, err)
		} else if err := Close(providers); err != nil {
			t.Errorf("closing %s: %v", typ, err)
		}
		if names := Options(typ); !slices.Contains(names, "ca_file") || !slices.Contains(names, "mount") {
			t.Errorf("options of %s: %q", typ, names)
		}
	}
	for want, change := range map[string]map[string]any{
		`has no option "tokenfile": did you mean "token_file"?`: {"tokenfile": "/t"},
		"use https": {"address": "http://vault.example.org"},
		"cache_ttl": {"cache_ttl": "2h"},
	} {
		if err := Check(vaultProvider("vault-kv", change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", change, err, want)
		}
	}
}

func TestCloudOptions(t *testing.T) {
	keys := map[string]any{"payroll": "projects/p/locations/l/keyRings/r/cryptoKeys/k"}
	for typ, options := range map[string]map[string]any{
		"awskms":        {"region": "eu-central-1", "keys": keys},
		"gcpkms":        {"keys": keys},
		"azurekeyvault": {"address": "https://efs.managedhsm.azure.net", "keys": keys},
	} {
		if err := Check([]config.Provider{{Name: "x", Type: typ, Options: options}}); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		delete(options, "keys")
		if err := Check([]config.Provider{{Name: "x", Type: typ, Options: options}}); err == nil || !strings.Contains(err.Error(), "keys is missing") {
			t.Errorf("%s without keys: %v", typ, err)
		}
	}
}
