package kmstest

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

// call is one method that works on an existing master key.
type call struct {
	method string
	do     func(ctx context.Context, k efs.KMS, id string) error
}

func calls(h Harness) []call {
	info := func(_ efs.KeyInfo, err error) error { return err }
	return []call{
		{"Wrap", func(ctx context.Context, k efs.KMS, id string) error {
			_, err := k.Wrap(ctx, id, newKey(), binding)
			return err
		}},
		{"DescribeKey", func(ctx context.Context, k efs.KMS, id string) error { return info(k.DescribeKey(ctx, id)) }},
		{"UpdateKey", func(ctx context.Context, k efs.KMS, id string) error {
			return info(k.UpdateKey(ctx, id, efs.KeyOptions{}))
		}},
		{"RotateKey", func(ctx context.Context, k efs.KMS, id string) error { return info(k.RotateKey(ctx, id)) }},
		{"EnableKey", func(ctx context.Context, k efs.KMS, id string) error { return info(k.EnableKey(ctx, id)) }},
		{"DisableKey", func(ctx context.Context, k efs.KMS, id string) error { return info(k.DisableKey(ctx, id)) }},
		{"ScheduleDeletion", func(ctx context.Context, k efs.KMS, id string) error {
			return info(k.ScheduleDeletion(ctx, id, h.MinWait))
		}},
		{"CancelDeletion", func(ctx context.Context, k efs.KMS, id string) error { return info(k.CancelDeletion(ctx, id)) }},
	}
}

func unknownKey(t *testing.T, h Harness) {
	k := withKeys(t, h, "a")
	_, err := k.Unwrap(t.Context(), "none", mustWrap(t, k, "a", newKey()), binding)
	wantError(t, "Unwrap", err, efs.ErrNotFound)
	for _, c := range calls(h) {
		if h.can(c.method) {
			wantError(t, c.method, c.do(t.Context(), k, "none"), efs.ErrNotFound)
		}
	}
}

// What a provider does not support it says, and does not do.
func unsupported(t *testing.T, h Harness) {
	if len(h.Unsupported) == 0 {
		return
	}
	k, key := withKeys(t, h, "a"), newKey()
	wrapped := mustWrap(t, k, "a", key)
	before := mustDescribe(t, k, "a")
	for _, c := range calls(h) {
		if !h.can(c.method) {
			wantError(t, c.method, c.do(t.Context(), k, "a"), efs.ErrUnsupported)
		}
	}
	if !h.can("CreateKey") {
		_, err := k.CreateKey(t.Context(), "more", efs.KeyOptions{})
		wantError(t, "CreateKey", err, efs.ErrUnsupported)
	}
	if after := mustDescribe(t, k, "a"); !reflect.DeepEqual(after, before) {
		t.Errorf("it changed: %+v, was %+v", after, before)
	}
	mustUnwrap(t, k, "a", wrapped, key)
}

func mustDescribe(t *testing.T, k efs.KMS, id string) efs.KeyInfo {
	t.Helper()
	info, err := k.DescribeKey(t.Context(), id)
	if err != nil {
		t.Fatalf("DescribeKey: %v", err)
	}
	return info
}

// wantState checks what a method answered and what is told afterwards.
func wantState(t *testing.T, what string, k efs.KMS, got efs.KeyInfo, err error, want efs.KeyState) {
	t.Helper()
	if err != nil || got.ID != "a" || got.State != want {
		t.Fatalf("%s: %+v, %v; want state %s", what, got, err, want)
	}
	if now := mustDescribe(t, k, "a"); !reflect.DeepEqual(now, got) {
		t.Errorf("%s answered %+v, DescribeKey %+v", what, got, now)
	}
}

// wantRefused checks that a key neither wraps nor unwraps.
func wantRefused(t *testing.T, what string, k efs.KMS, wrapped []byte) {
	t.Helper()
	_, err := k.Wrap(t.Context(), "a", newKey(), binding)
	wantError(t, "Wrap, "+what, err, efs.ErrRefused)
	got, err := k.Unwrap(t.Context(), "a", wrapped, binding)
	wantError(t, "Unwrap, "+what, err, efs.ErrRefused)
	if got != nil {
		t.Errorf("Unwrap, %s: a key came with the error", what)
	}
}

func options(t *testing.T, h Harness) {
	if !h.can("CreateKey", "UpdateKey") {
		return
	}
	k := h.New(t)
	tags := map[string]string{"team": "payroll", "empty": ""}
	o := efs.KeyOptions{Description: "of the payroll, für alle", Tags: tags}
	info, err := k.CreateKey(t.Context(), "a", o)
	if err != nil || !reflect.DeepEqual(info.KeyOptions, o) {
		t.Fatalf("CreateKey: %+v, %v", info, err)
	}
	tags["team"] = "changed by the caller"
	tags = map[string]string{"team": "payroll", "empty": ""}
	if got := mustDescribe(t, k, "a").KeyOptions; got.Tags["team"] != "payroll" {
		t.Errorf("the KMS kept the caller's map: %+v", got)
	}
	o = efs.KeyOptions{Description: "another", Tags: map[string]string{"cost": "42"}}
	info, err = k.UpdateKey(t.Context(), "a", o)
	if err != nil || !reflect.DeepEqual(info.KeyOptions, o) {
		t.Errorf("UpdateKey did not replace: %+v, %v", info, err)
	}
	if got := mustDescribe(t, h.Reopen(t, k), "a").KeyOptions; !reflect.DeepEqual(got, o) {
		t.Errorf("after reopening: %+v", got)
	}
	info, err = k.UpdateKey(t.Context(), "a", efs.KeyOptions{})
	if err != nil || info.Description != "" || len(info.Tags) != 0 {
		t.Errorf("UpdateKey with nothing: %+v, %v", info, err)
	}
}

func badOptions(t *testing.T, h Harness) {
	if !h.can("CreateKey", "UpdateKey") {
		return
	}
	k := withKeys(t, h, "a")
	before := mustDescribe(t, k, "a")
	for what, o := range map[string]efs.KeyOptions{
		"a long description":      {Description: strings.Repeat("x", 1025)},
		"control characters":      {Description: "two\nlines"},
		"a tag without a name":    {Tags: map[string]string{"": "x"}},
		"a tag with a long value": {Tags: map[string]string{"x": strings.Repeat("x", 257)}},
	} {
		_, err := k.CreateKey(t.Context(), "b", o)
		wantError(t, "CreateKey with "+what, err, efs.ErrBadInput)
		_, err = k.UpdateKey(t.Context(), "a", o)
		wantError(t, "UpdateKey with "+what, err, efs.ErrBadInput)
	}
	if infos, err := k.ListKeys(t.Context()); err != nil || len(infos) != 1 || !reflect.DeepEqual(infos[0], before) {
		t.Errorf("bad options changed something: %+v, %v", infos, err)
	}
}

func disabledRefuses(t *testing.T, h Harness) {
	if !h.can("EnableKey", "DisableKey") {
		return
	}
	k, key := withKeys(t, h, "a", "b"), newKey()
	wrapped := mustWrap(t, k, "a", key)
	for range 2 { // a second time changes nothing
		info, err := k.DisableKey(t.Context(), "a")
		wantState(t, "DisableKey", k, info, err, efs.KeyDisabled)
	}
	wantRefused(t, "disabled", k, wrapped)
	wantRefused(t, "disabled and reopened", h.Reopen(t, k), wrapped)
	mustWrap(t, k, "b", key)
	for range 2 {
		info, err := k.EnableKey(t.Context(), "a")
		wantState(t, "EnableKey", k, info, err, efs.KeyEnabled)
	}
	mustUnwrap(t, k, "a", wrapped, key)
}

func deletion(t *testing.T, h Harness) {
	if !h.can("ScheduleDeletion") {
		return
	}
	k, key := withKeys(t, h, "a"), newKey()
	wrapped := mustWrap(t, k, "a", key)
	_, err := k.ScheduleDeletion(t.Context(), "a", time.Second)
	wantError(t, "a short wait", err, efs.ErrBadInput)
	mustUnwrap(t, k, "a", wrapped, key)

	start := time.Now()
	info, err := k.ScheduleDeletion(t.Context(), "a", h.MinWait)
	wantState(t, "ScheduleDeletion", k, info, err, efs.KeyPendingDeletion)
	// Clocks differ a little, and some providers count whole days.
	if wait := info.DeleteAt.Sub(start); wait < h.MinWait-time.Hour || wait > h.MinWait+25*time.Hour {
		t.Errorf("to be deleted after %s, was to be after %s", wait, h.MinWait)
	}
	wantRefused(t, "to be deleted", k, wrapped)
	again := h.Reopen(t, k)
	wantRefused(t, "to be deleted and reopened", again, wrapped)
	for _, c := range calls(h) {
		if (c.method == "EnableKey" || c.method == "DisableKey") && h.can(c.method) {
			wantError(t, c.method+" of a key that is to be deleted", c.do(t.Context(), again, "a"), efs.ErrRefused)
		}
	}
	if got := mustDescribe(t, again, "a"); !reflect.DeepEqual(got, info) {
		t.Errorf("after reopening and refusals: %+v, want %+v", got, info)
	}
}

func cancelledDeletion(t *testing.T, h Harness) {
	if !h.can("ScheduleDeletion", "CancelDeletion", "EnableKey") {
		return
	}
	k, key := withKeys(t, h, "a"), newKey()
	wrapped := mustWrap(t, k, "a", key)
	_, err := k.CancelDeletion(t.Context(), "a")
	wantError(t, "cancelling what is not scheduled", err, efs.ErrRefused)
	mustUnwrap(t, k, "a", wrapped, key)
	if _, err := k.ScheduleDeletion(t.Context(), "a", h.MinWait); err != nil {
		t.Fatal(err)
	}
	info, err := k.CancelDeletion(t.Context(), "a")
	wantState(t, "CancelDeletion", k, info, err, efs.KeyDisabled)
	if !info.DeleteAt.IsZero() {
		t.Errorf("still to be deleted at %s", info.DeleteAt)
	}
	wantRefused(t, "kept, but disabled", k, wrapped)
	if _, err := k.EnableKey(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if h.Advance != nil {
		h.Advance(t, k, 2*h.MinWait)
	}
	mustUnwrap(t, k, "a", wrapped, key)
}

// When the wait is over the key and what it wrapped are gone, before and after
// a restart, and other keys are not.
func deletedIsGone(t *testing.T, h Harness) {
	if !h.can("ScheduleDeletion") || h.Advance == nil {
		return
	}
	for _, reopened := range []bool{false, true} {
		k, key := withKeys(t, h, "a", "b"), newKey()
		wrapped, kept := mustWrap(t, k, "a", key), mustWrap(t, k, "b", key)
		if _, err := k.ScheduleDeletion(t.Context(), "a", h.MinWait); err != nil {
			t.Fatal(err)
		}
		h.Advance(t, k, h.MinWait-time.Minute)
		if info := mustDescribe(t, k, "a"); info.State != efs.KeyPendingDeletion {
			t.Errorf("before its time: %+v", info)
		}
		h.Advance(t, k, 2*time.Minute)
		if reopened {
			k = h.Reopen(t, k)
		}
		_, err := k.Unwrap(t.Context(), "a", wrapped, binding)
		wantError(t, "Unwrap", err, efs.ErrNotFound)
		for _, c := range calls(h) {
			if h.can(c.method) {
				wantError(t, c.method+" of a deleted key", c.do(t.Context(), k, "a"), efs.ErrNotFound)
			}
		}
		if infos, err := k.ListKeys(t.Context()); err != nil || len(infos) != 1 || infos[0].ID != "b" {
			t.Errorf("ListKeys: %+v, %v", infos, err)
		}
		mustUnwrap(t, k, "b", kept, key)
	}
}
