package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestKMSProviders(t *testing.T) {
	c, err := load(t, `
[kms]
key_ttl = "90s"
deletion_wait = "9d"

[[kms.provider]]
name = "main"
type = "vault"
address = "https://vault.example:8200"
retries = 3

[[kms.provider]]
name = "hsm"
type = "pkcs11"

[starter]
kms = "main/efs"
`, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Provider{
		{Name: "main", Type: "vault", Options: map[string]any{"address": "https://vault.example:8200", "retries": int64(3)}},
		{Name: "hsm", Type: "pkcs11", Options: nil},
	}
	if len(c.KMS.Providers) != 2 || !reflect.DeepEqual(c.KMS.Providers[0], want[0]) || c.KMS.Providers[1].Name != "hsm" || len(c.KMS.Providers[1].Options) != 0 {
		t.Errorf("providers %+v", c.KMS.Providers)
	}
	if c.KMS.KeyTTL != 90*time.Second || c.KMS.OutageGrace != 0 || c.KMS.Timeout != 10*time.Second || c.KMS.DeletionWait != 9*24*time.Hour {
		t.Errorf("%+v", c.KMS)
	}
	if c.Starter.KMS != "main/efs" {
		t.Errorf("starter %+v", c.Starter)
	}
}

// Whatever is wrong is told at once, each in the words of the file.
func TestEverythingWrongAtOnce(t *testing.T) {
	_, err := load(t, `
[kms]
key_ttl = "1ms"
timeout = "0s"
[starter]
kms = "vault/efs"
[[kms.provider]]
name = "local"
type = "vault"
[[kms.provider]]
name = "a"
[[kms.provider]]
name = "a"
type = "vault"
[[kms.provider]]
type = "vault"
[cache]
size = "2MiB"
max_file = "3MiB"
where = "here"
[log]
level = "loud"
`, nil, nil)
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{
		"kms.key_ttl: 1ms is below one second", "kms.timeout", `starter.kms: there is no [[kms.provider]] of the name "vault"`,
		`kms.provider 1: the name "local" is taken`, "kms.provider 2: type is missing", `kms.provider 3: the name "a" is taken`,
		"kms.provider 4: name is missing", "cache.max_file: 3MiB is above cache.size, 2MiB", `cache.where: "here"`, `log.level: "loud"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of %q", want)
		}
	}
	if n := len(strings.Split(err.Error(), "\n")); n != 10 {
		t.Errorf("%d lines, not 10:\n%v", n, err)
	}
}

func TestDidYouMean(t *testing.T) {
	for key, want := range map[string]string{
		"[server]\nlistn = ':1'":                       `"server.listn": did you mean "server.listen"?`,
		"listen = ':1'":                                `"listen": did you mean "server.listen"?`,
		"[kms]\nkey_tll = '5m'":                        `"kms.key_tll": did you mean "kms.key_ttl"?`,
		"[[listener]]\naddress = ':1'\nroute = ['x']":  `[[listener]] has no setting "route": did you mean "routes"?`,
		"[[listener]]\naddress = ':1'\nroutes=['dat']": `routes: "dat" is none of [data auth api changes ops]: did you mean "data"?`,
		"[log]\nlevel = 'wran'":                        `did you mean "warn"?`,
	} {
		if _, err := load(t, key, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", key, err, want)
		}
	}
	if _, err := load(t, "[zzz]\nqqqqqqqq = 1\n", nil, nil); err == nil || strings.Contains(err.Error(), "did you mean") {
		t.Errorf("a guess at nothing: %v", err)
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"0s": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "30d": 720 * time.Hour, " 5m ": 5 * time.Minute} {
		if d, err := ParseDuration(text); err != nil || d != want {
			t.Errorf("%q: %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "5", "d", "-1d", "1.5d", "99999999d", "5 minutes"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q was taken as %s", text, d)
		}
	}
	if _, err := load(t, "[limits]\nslow_client = 30\n", nil, nil); err == nil || !strings.Contains(err.Error(), "with a unit") {
		t.Errorf("a duration without a unit: %v", err)
	}
}

// The key of the starter key's KMS is written like every key, or with a colon.
func TestStarterKMSWithAColon(t *testing.T) {
	for _, kms := range []string{"vault/efs", "vault:efs"} {
		c, err := load(t, "[[kms.provider]]\nname = \"vault\"\ntype = \"vault\"\n[starter]\nkms = \""+kms+"\"\n", nil, nil)
		if err != nil || c.Starter.KMS != "vault/efs" {
			t.Errorf("%s: %q, %v", kms, c.Starter.KMS, err)
		}
	}
}
