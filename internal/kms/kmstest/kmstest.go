// Package kmstest is the conformance suite of efs.KMS: each sentence of its
// contract, run by every implementation's tests.
package kmstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/efs-project/efs"
)

// Harness is an implementation under test.
type Harness struct {
	// New returns a KMS without master keys.
	New func(t *testing.T) efs.KMS
	// Reopen returns another KMS over the same keys, as after a restart.
	Reopen func(t *testing.T, k efs.KMS) efs.KMS
	// SetState puts a master key into a state, by whatever way the provider has.
	SetState func(t *testing.T, k efs.KMS, id string, s efs.KeyState)
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"WrapAndUnwrap", wrapAndUnwrap},
		{"WrapsAreFresh", wrapsAreFresh},
		{"WrapTakes32Bytes", wrapTakes32Bytes},
		{"OtherBinding", otherBinding},
		{"OtherKey", otherKey},
		{"EveryByteFlipped", everyByteFlipped},
		{"EveryLengthCut", everyLengthCut},
		{"Rotation", rotation},
		{"UnknownKey", unknownKey},
		{"CreateTwice", createTwice},
		{"DescribeAndList", describeAndList},
		{"DisabledRefuses", disabledRefuses},
		{"SurvivesReopening", survivesReopening},
		{"Concurrency", concurrency},
		{"Ready", ready},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, h) })
	}
}

var binding = efs.Binding{Purpose: "epoch", FS: efs.ID{1}, Stage: 1, Epoch: 3, Key: efs.ID{2}}

func newKey() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return b
}

func withKeys(t *testing.T, h Harness, ids ...string) efs.KMS {
	t.Helper()
	k := h.New(t)
	for _, id := range ids {
		if _, err := k.CreateKey(t.Context(), id, efs.KeyOptions{}); err != nil {
			t.Fatalf("CreateKey(%q): %v", id, err)
		}
	}
	return k
}

func mustWrap(t *testing.T, k efs.KMS, id string, key []byte) []byte {
	t.Helper()
	w, err := k.Wrap(t.Context(), id, key, binding)
	if err != nil {
		t.Fatalf("Wrap: %v", err)
	}
	return w
}

func mustUnwrap(t *testing.T, k efs.KMS, id string, wrapped, want []byte) {
	t.Helper()
	got, err := k.Unwrap(t.Context(), id, wrapped, binding)
	if err != nil {
		t.Fatalf("Unwrap: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("Unwrap returned another key than was wrapped")
	}
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func wrapAndUnwrap(t *testing.T, h Harness) {
	k, key := withKeys(t, h, "a"), newKey()
	before := slices.Clone(key)
	wrapped := mustWrap(t, k, "a", key)
	if !bytes.Equal(key, before) {
		t.Error("Wrap changed the caller's key")
	}
	if bytes.Contains(wrapped, key) {
		t.Error("the wrapped bytes show the key")
	}
	mustUnwrap(t, k, "a", wrapped, key)
	mustUnwrap(t, k, "a", wrapped, key)
}

func wrapsAreFresh(t *testing.T, h Harness) {
	k, key := withKeys(t, h, "a"), newKey()
	if bytes.Equal(mustWrap(t, k, "a", key), mustWrap(t, k, "a", key)) {
		t.Error("two wraps of one key are the same bytes")
	}
}

func wrapTakes32Bytes(t *testing.T, h Harness) {
	k := withKeys(t, h, "a")
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := k.Wrap(t.Context(), "a", make([]byte, n), binding); err == nil {
			t.Errorf("a key of %d bytes was wrapped", n)
		}
	}
}

func otherBinding(t *testing.T, h Harness) {
	k := withKeys(t, h, "a")
	wrapped := mustWrap(t, k, "a", newKey())
	for field, change := range map[string]func(*efs.Binding){
		"Purpose": func(b *efs.Binding) { b.Purpose = "root" },
		"FS":      func(b *efs.Binding) { b.FS[15]++ },
		"Stage":   func(b *efs.Binding) { b.Stage++ },
		"Epoch":   func(b *efs.Binding) { b.Epoch++ },
		"Key":     func(b *efs.Binding) { b.Key[15]++ },
	} {
		b := binding
		change(&b)
		got, err := k.Unwrap(t.Context(), "a", wrapped, b)
		wantError(t, "another "+field, err, efs.ErrWrongKey)
		if got != nil {
			t.Errorf("another %s: a key came with the error", field)
		}
	}
}

func otherKey(t *testing.T, h Harness) {
	k := withKeys(t, h, "a", "b")
	_, err := k.Unwrap(t.Context(), "b", mustWrap(t, k, "a", newKey()), binding)
	wantError(t, "unwrapping under another master key", err, efs.ErrWrongKey)
}

func everyByteFlipped(t *testing.T, h Harness) {
	k := withKeys(t, h, "a")
	wrapped := mustWrap(t, k, "a", newKey())
	for i := range wrapped {
		wrapped[i] ^= 0x41
		_, err := k.Unwrap(t.Context(), "a", wrapped, binding)
		wantError(t, fmt.Sprintf("byte %d flipped", i), err, efs.ErrWrongKey)
		wrapped[i] ^= 0x41
	}
}

func everyLengthCut(t *testing.T, h Harness) {
	k := withKeys(t, h, "a")
	wrapped := mustWrap(t, k, "a", newKey())
	for n := range wrapped {
		_, err := k.Unwrap(t.Context(), "a", wrapped[:n], binding)
		wantError(t, fmt.Sprintf("cut at %d", n), err, efs.ErrWrongKey)
	}
	_, err := k.Unwrap(t.Context(), "a", append(slices.Clone(wrapped), 0), binding)
	wantError(t, "one byte more", err, efs.ErrWrongKey)
}

func rotation(t *testing.T, h Harness) {
	k, key := withKeys(t, h, "a"), newKey()
	old := mustWrap(t, k, "a", key)
	info, err := k.RotateKey(t.Context(), "a")
	if err != nil || info.Version != 2 || info.ID != "a" {
		t.Fatalf("RotateKey: %+v, %v", info, err)
	}
	mustUnwrap(t, k, "a", old, key)
	mustUnwrap(t, k, "a", mustWrap(t, k, "a", key), key)
	again := h.Reopen(t, k)
	mustUnwrap(t, again, "a", old, key)
}

func unknownKey(t *testing.T, h Harness) {
	k := withKeys(t, h, "a")
	wrapped := mustWrap(t, k, "a", newKey())
	_, err := k.Wrap(t.Context(), "none", newKey(), binding)
	wantError(t, "Wrap", err, efs.ErrNotFound)
	_, err = k.Unwrap(t.Context(), "none", wrapped, binding)
	wantError(t, "Unwrap", err, efs.ErrNotFound)
	_, err = k.DescribeKey(t.Context(), "none")
	wantError(t, "DescribeKey", err, efs.ErrNotFound)
	_, err = k.RotateKey(t.Context(), "none")
	wantError(t, "RotateKey", err, efs.ErrNotFound)
}

func createTwice(t *testing.T, h Harness) {
	k, key := withKeys(t, h, "a"), newKey()
	wrapped := mustWrap(t, k, "a", key)
	_, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{})
	wantError(t, "CreateKey again", err, efs.ErrExists)
	mustUnwrap(t, k, "a", wrapped, key)
}

func describeAndList(t *testing.T, h Harness) {
	k := withKeys(t, h, "b", "a")
	info, err := k.DescribeKey(t.Context(), "a")
	if err != nil || info.ID != "a" || info.Provider != k.Name() || info.State != efs.KeyEnabled ||
		info.Version != 1 || info.Created.IsZero() || !info.DeleteAt.IsZero() {
		t.Errorf("DescribeKey: %+v, %v", info, err)
	}
	infos, err := k.ListKeys(t.Context())
	if err != nil || len(infos) != 2 || !reflect.DeepEqual(infos[0], info) || infos[1].ID != "b" {
		t.Errorf("ListKeys: %+v, %v", infos, err)
	}
}

func disabledRefuses(t *testing.T, h Harness) {
	for _, state := range []efs.KeyState{efs.KeyDisabled, efs.KeyPendingDeletion} {
		k, key := withKeys(t, h, "a"), newKey()
		wrapped := mustWrap(t, k, "a", key)
		h.SetState(t, k, "a", state)
		_, err := k.Wrap(t.Context(), "a", key, binding)
		wantError(t, "Wrap, "+string(state), err, efs.ErrRefused)
		_, err = k.Unwrap(t.Context(), "a", wrapped, binding)
		wantError(t, "Unwrap, "+string(state), err, efs.ErrRefused)
		if info, err := k.DescribeKey(t.Context(), "a"); err != nil || info.State != state {
			t.Errorf("DescribeKey: %+v, %v; want state %s", info, err, state)
		}
		h.SetState(t, k, "a", efs.KeyEnabled)
		mustUnwrap(t, k, "a", wrapped, key)
	}
}

func survivesReopening(t *testing.T, h Harness) {
	k, key := withKeys(t, h, "a"), newKey()
	wrapped := mustWrap(t, k, "a", key)
	want, err := k.DescribeKey(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	again := h.Reopen(t, k)
	mustUnwrap(t, again, "a", wrapped, key)
	if got, err := again.DescribeKey(t.Context(), "a"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("after reopening: %+v, %v; want %+v", got, err, want)
	}
}

func concurrency(t *testing.T, h Harness) {
	k := withKeys(t, h, "a")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				if err := roundTrip(t.Context(), k); err != nil {
					t.Error(err)
					return
				}
				if i == 0 {
					if _, err := k.RotateKey(t.Context(), "a"); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if info, err := k.DescribeKey(t.Context(), "a"); err != nil || info.Version != 21 {
		t.Errorf("after 20 rotations: %+v, %v", info, err)
	}
}

func roundTrip(ctx context.Context, k efs.KMS) error {
	key := newKey()
	wrapped, err := k.Wrap(ctx, "a", key, binding)
	if err != nil {
		return err
	}
	got, err := k.Unwrap(ctx, "a", wrapped, binding)
	if err == nil && !bytes.Equal(got, key) {
		err = errors.New("another key came out than was wrapped")
	}
	return err
}

func ready(t *testing.T, h Harness) {
	k := h.New(t)
	if k.Name() == "" {
		t.Error("a KMS without a name")
	}
	if err := k.Ready(t.Context()); err != nil {
		t.Errorf("Ready: %v", err)
	}
}
