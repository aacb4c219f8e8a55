package vault_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/efs-project/efs"
)

var binding = efs.Binding{Purpose: "epoch", FS: efs.ID{1}, Stage: 1, Epoch: 3, Key: efs.ID{2}}

// wrapped is a key under the master key "a" of k.
type wrapped struct {
	t     testing.TB
	k     efs.KMS
	key   []byte
	bytes []byte
}

// wrap wraps a new key.
func wrap(t testing.TB, k efs.KMS) wrapped {
	t.Helper()
	w := wrapped{t: t, k: k, key: make([]byte, 32)}
	rand.Read(w.key)
	var err error
	if w.bytes, err = k.Wrap(context.Background(), "a", w.key, binding); err != nil {
		t.Fatalf("Wrap: %v", err)
	}
	return w
}

// open unwraps it.
func (w wrapped) open() error {
	got, err := w.k.Unwrap(context.Background(), "a", w.bytes, binding)
	if err == nil && !bytes.Equal(got, w.key) {
		return errors.New("another key came out than was wrapped")
	}
	return err
}

// mustOpen wants it to unwrap.
func (w wrapped) mustOpen(when string) {
	w.t.Helper()
	if err := w.open(); err != nil {
		w.t.Errorf("Unwrap %s: %v", when, err)
	}
}

// wantError wants neither it to unwrap nor anything to be wrapped.
func (w wrapped) wantError(when string, want error) {
	w.t.Helper()
	if err := w.open(); !errors.Is(err, want) {
		w.t.Errorf("Unwrap %s: got error %v, want %v", when, err, want)
	}
	if _, err := w.k.Wrap(context.Background(), "a", w.key, binding); !errors.Is(err, want) {
		w.t.Errorf("Wrap %s: got error %v, want %v", when, err, want)
	}
}

func mustBe(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

func create(t testing.TB, k efs.KMS) {
	t.Helper()
	if _, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
}

// each runs a test on both providers, with a master key "a" and all that the
// documentation allows.
func each(t *testing.T, test func(t *testing.T, s *server, open func(address string) efs.KMS)) {
	t.Run("transit", func(t *testing.T) {
		s := start(t)
		s.Mount("transit", "transit", nil)
		c := s.transit("efs-transit", "efs-transit-admin")
		create(t, openTransit(t, c))
		test(t, s, func(address string) efs.KMS {
			c.Address = address
			return openTransit(t, c)
		})
	})
	t.Run("kv", func(t *testing.T) {
		s := start(t)
		s.mountKV()
		c := s.kv("efs-kv", "efs-kv-admin")
		c.CacheTTL = 1 // a nanosecond: Vault is asked each time
		create(t, openKV(t, c))
		test(t, s, func(address string) efs.KMS {
			c.Address = address
			return openKV(t, c)
		})
	})
}

// mountKV mounts KV version 2 and waits until it has made itself ready.
func (s *server) mountKV() {
	s.t.Helper()
	s.Mount("secret", "kv", map[string]string{"version": "2"})
	until(s.t, "KV is made ready for version 2", func() error {
		_, err := s.Root.Logical().List("secret/metadata/efs")
		return err
	})
}
