package vault_test

import (
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/kmstest"
	"github.com/efs-project/efs/internal/kms/vaultkv"
)

// What is done to a Transit key by Vault's own tools is noticed.
func TestTransitKeyChangedInVault(t *testing.T) {
	s := withKey(t)
	k := openTransit(t, s.transit("efs-transit"))
	old := wrap(t, k)
	s.Write("transit/keys/a/rotate", nil)
	old.mustOpen("after a rotation")
	newer := wrap(t, k)
	if info, err := k.DescribeKey(t.Context(), "a"); err != nil || info.Version != 2 {
		t.Errorf("%+v, %v", info, err)
	}

	s.Write("transit/keys/a/config", map[string]any{"min_decryption_version": 2})
	mustBe(t, "a version below min_decryption_version", old.open(), efs.ErrRefused)
	newer.mustOpen("at min_decryption_version")
	s.Write("transit/keys/a/config", map[string]any{"min_decryption_version": 1})
	old.mustOpen("with min_decryption_version lowered")

	s.Write("transit/keys/a/config", map[string]any{"deletion_allowed": true})
	if _, err := s.Root.Logical().Delete("transit/keys/a"); err != nil {
		t.Fatal(err)
	}
	newer.wantError("after deletion", efs.ErrNotFound)
	s.Write("transit/keys/a", map[string]any{"type": "aes256-gcm96"})
	mustBe(t, "a new key of the same name", newer.open(), efs.ErrWrongKey)
}

func TestUnsuitableTransitKeys(t *testing.T) {
	s := withKey(t)
	c := s.transit("efs-transit", "efs-transit-admin")
	k := openTransit(t, c)
	for id, options := range map[string]map[string]any{
		"rsa":        {"type": "rsa-2048"},
		"short":      {"type": "aes128-gcm96"},
		"derived":    {"type": "aes256-gcm96", "derived": true},
		"exportable": {"type": "aes256-gcm96", "exportable": true},
		"backup":     {"type": "aes256-gcm96", "allow_plaintext_backup": true},
	} {
		s.Write("transit/keys/"+id, options)
		_, err := k.Wrap(t.Context(), id, make([]byte, 32), binding)
		mustBe(t, "Wrap under "+id, err, efs.ErrRefused)
		_, err = k.DescribeKey(t.Context(), id)
		mustBe(t, "DescribeKey "+id, err, efs.ErrRefused)
		_, err = k.CreateKey(t.Context(), id, efs.KeyOptions{})
		mustBe(t, "CreateKey "+id, err, efs.ErrExists)
	}
	if infos, err := k.ListKeys(t.Context()); err != nil || len(infos) != 1 || infos[0].ID != "a" {
		t.Errorf("ListKeys: %+v, %v", infos, err)
	}

	w := wrap(t, k)
	s.Write("transit/keys/a/config", map[string]any{"exportable": true})
	w.mustOpen("under a key that became exportable")
	_, err := k.Wrap(t.Context(), "a", w.key, binding)
	mustBe(t, "Wrap under a key that became exportable", err, efs.ErrRefused)
}

// Two servers have one set of keys.
func twoServers(t *testing.T) (s *server, a, b *vaultkv.KMS, clock *kmstest.Clock) {
	t.Helper()
	s = start(t)
	s.mountKV()
	c := s.kv("efs-kv", "efs-kv-admin")
	clock = kmstest.NewClock(time.Now())
	c.Clock = clock.Now
	a, b = openKV(t, c), openKV(t, c)
	create(t, a)
	return s, a, b, clock
}

func TestTwoServersRotateAtOnce(t *testing.T) {
	_, a, b, _ := twoServers(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	var made []wrapped
	for _, k := range []efs.KMS{a, b} {
		all.Go(func() {
			for range 10 {
				if _, err := k.RotateKey(t.Context(), "a"); err != nil {
					t.Error(err)
					return
				}
				w := wrap(t, k)
				mu.Lock()
				made = append(made, w)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if info, err := a.DescribeKey(t.Context(), "a"); err != nil || info.Version != 21 {
		t.Errorf("after 20 rotations: %+v, %v", info, err)
	}
	for _, w := range made {
		for _, k := range []efs.KMS{a, b} {
			wrapped{t, k, w.key, w.bytes}.mustOpen("of either server, by either")
		}
	}
}

// What another server does takes effect on wrapping at once, on unwrapping
// when the material's time is over.
func TestKVKeyChangedElsewhere(t *testing.T) {
	s, a, b, clock := twoServers(t)
	w := wrap(t, a)
	w.mustOpen("with material at hand")
	if _, err := b.DisableKey(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	w.mustOpen("within the time of the material")
	_, err := a.Wrap(t.Context(), "a", w.key, binding)
	mustBe(t, "Wrap", err, efs.ErrRefused)
	w.wantError("after Vault was asked", efs.ErrRefused)
	if _, err := b.EnableKey(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Minute)
	w.mustOpen("enabled again")

	s.Seal()
	w.mustOpen("with material at hand and Vault sealed")
	clock.Advance(time.Minute)
	w.wantError("with material too old and Vault sealed", efs.ErrUnavailable)
	s.Unseal()
	w.mustOpen("unsealed again")

	if _, err := s.Root.Logical().Delete("secret/metadata/efs/a"); err != nil {
		t.Fatal(err)
	}
	_, err = a.Wrap(t.Context(), "a", w.key, binding)
	mustBe(t, "Wrap under a key that was deleted in Vault", err, efs.ErrNotFound)
	create(t, b)
	mustBe(t, "Unwrap with another key of the same name", w.open(), efs.ErrWrongKey)
	wrapped{t, a, w.key, wrap(t, b).bytes}.wantOther("of the new key")
}

// wantOther wants it to unwrap to another key.
func (w wrapped) wantOther(what string) {
	w.t.Helper()
	if err := w.open(); err == nil || err.Error() != "another key came out than was wrapped" {
		w.t.Errorf("Unwrap %s: %v", what, err)
	}
}

// Something else at a key's place in KV is no key, and stays as it is.
func TestKVHoldsSomethingElse(t *testing.T) {
	s := start(t)
	s.mountKV()
	k := openKV(t, s.kv("efs-kv", "efs-kv-admin"))
	for what, data := range map[string]map[string]any{
		"a password":  {"password": "x"},
		"no versions": {"efs_format": 1, "state": "enabled"},
		"a short key": {"efs_format": 1, "state": "enabled", "versions": []any{map[string]any{"key": "AAAA"}}},
	} {
		s.Write("secret/data/efs/a", map[string]any{"data": data})
		_, err := k.Wrap(t.Context(), "a", make([]byte, 32), binding)
		mustBe(t, "Wrap under "+what, err, efs.ErrDamaged)
		_, err = k.CreateKey(t.Context(), "a", efs.KeyOptions{})
		mustBe(t, "CreateKey over "+what, err, efs.ErrExists)
		_, err = k.RotateKey(t.Context(), "a")
		mustBe(t, "RotateKey of "+what, err, efs.ErrDamaged)
	}
	s.Write("secret/data/efs/a", map[string]any{"data": map[string]any{"efs_format": 2}})
	if _, err := k.Wrap(t.Context(), "a", make([]byte, 32), binding); err == nil {
		t.Error("wrapped under a key of a newer format")
	}
}
