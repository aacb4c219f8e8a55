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
	"time"

	"github.com/efs-project/efs"
)

// Harness is an implementation under test.
type Harness struct {
	// New returns a KMS without master keys.
	New func(t *testing.T) efs.KMS
	// Reopen returns another KMS over the same keys, as after a restart.
	Reopen func(t *testing.T, k efs.KMS) efs.KMS

	// Create makes a master key by the provider's own tools; nil: CreateKey.
	Create func(t *testing.T, k efs.KMS, id string)
	// Advance moves the provider's clock; nil where the test cannot, and that
	// deletion really happens is then for the provider's own tests.
	Advance func(t *testing.T, k efs.KMS, d time.Duration)

	// Remote says that a call takes long: what is done to every byte in memory
	// is done to some.
	Remote bool
	// Unsupported names the methods that this provider answers with
	// efs.ErrUnsupported: "RotateKey", "DisableKey", …
	Unsupported []string
	// Versionless says that the provider rotates without numbering versions:
	// KeyInfo.Version stays what it was.
	Versionless bool
	// MinWait is the shortest wait of ScheduleDeletion. 0: a day.
	MinWait time.Duration
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	if h.MinWait == 0 {
		h.MinWait = 24 * time.Hour
	}
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
		{"Options", options},
		{"BadOptions", badOptions},
		{"DisabledRefuses", disabledRefuses},
		{"Deletion", deletion},
		{"CancelledDeletion", cancelledDeletion},
		{"DeletedIsGone", deletedIsGone},
		{"Unsupported", unsupported},
		{"SurvivesReopening", survivesReopening},
		{"Concurrency", concurrency},
		{"Ready", ready},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, h) })
	}
}

// can reports whether the provider supports all of these methods. What it does
// not support is the subject of the test "Unsupported".
func (h Harness) can(methods ...string) bool {
	for _, m := range methods {
		if slices.Contains(h.Unsupported, m) {
			return false
		}
	}
	return true
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
		if h.Create != nil {
			h.Create(t, k, id)
			continue
		}
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

// places returns the places of n bytes to try: all, or some of a provider that
// is slow, with both ends among them.
func (h Harness) places(n int) (places []int) {
	step := 1
	if h.Remote {
		step = max(n/8, 1)
	}
	for i := 0; i < n-1; i += step {
		places = append(places, i)
	}
	return append(places, n-1)
}

func everyByteFlipped(t *testing.T, h Harness) {
	k := withKeys(t, h, "a")
	wrapped := mustWrap(t, k, "a", newKey())
	for _, i := range h.places(len(wrapped)) {
		wrapped[i] ^= 0x41
		_, err := k.Unwrap(t.Context(), "a", wrapped, binding)
		wantError(t, fmt.Sprintf("byte %d flipped", i), err, efs.ErrWrongKey)
		wrapped[i] ^= 0x41
	}
}

func everyLengthCut(t *testing.T, h Harness) {
	k := withKeys(t, h, "a")
	wrapped := mustWrap(t, k, "a", newKey())
	for _, n := range h.places(len(wrapped)) {
		_, err := k.Unwrap(t.Context(), "a", wrapped[:n], binding)
		wantError(t, fmt.Sprintf("cut at %d", n), err, efs.ErrWrongKey)
	}
	_, err := k.Unwrap(t.Context(), "a", append(slices.Clone(wrapped), 0), binding)
	wantError(t, "one byte more", err, efs.ErrWrongKey)
}

func rotation(t *testing.T, h Harness) {
	if !h.can("RotateKey") {
		return
	}
	k, key := withKeys(t, h, "a"), newKey()
	old := mustWrap(t, k, "a", key)
	info, err := k.RotateKey(t.Context(), "a")
	if err != nil || info.ID != "a" || info.Version != 2 && !h.Versionless {
		t.Fatalf("RotateKey: %+v, %v", info, err)
	}
	mustUnwrap(t, k, "a", old, key)
	mustUnwrap(t, k, "a", mustWrap(t, k, "a", key), key)
	again := h.Reopen(t, k)
	mustUnwrap(t, again, "a", old, key)
}

func createTwice(t *testing.T, h Harness) {
	if !h.can("CreateKey") {
		return
	}
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
		info.Version != 1 && !h.Versionless || info.Created.IsZero() || !info.DeleteAt.IsZero() {
		t.Errorf("DescribeKey: %+v, %v", info, err)
	}
	infos, err := k.ListKeys(t.Context())
	if err != nil || len(infos) != 2 || !reflect.DeepEqual(infos[0], info) || infos[1].ID != "b" {
		t.Errorf("ListKeys: %+v, %v", infos, err)
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
	times := 20
	if h.Remote {
		times = 3
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range times {
				if err := roundTrip(t.Context(), k); err != nil {
					t.Error(err)
					return
				}
				if i == 0 && h.can("RotateKey") {
					if _, err := k.RotateKey(t.Context(), "a"); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if info, err := k.DescribeKey(t.Context(), "a"); err != nil || info.Version != times+1 && h.can("RotateKey") && !h.Versionless {
		t.Errorf("after %d rotations: %+v, %v", times, info, err)
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
