package local

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/kms/kmstest"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
)

func newBox(t *testing.T) (*starter.Box, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), ".server")
	_, key, err := starter.Generate()
	if err != nil {
		t.Fatal(err)
	}
	box, err := starter.CreateBox(dir, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	return box, dir
}

func mustOpen(t *testing.T, box *starter.Box) *KMS {
	t.Helper()
	k, err := Open(box)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func openAt(t *testing.T, box *starter.Box, c *kmstest.Clock) *KMS {
	t.Helper()
	k, err := OpenWith(box, Options{Clock: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func TestConformance(t *testing.T) {
	c := kmstest.NewClock(time.Now())
	kmstest.Run(t, kmstest.Harness{
		New: func(t *testing.T) efs.KMS {
			box, _ := newBox(t)
			c.Advance(time.Since(c.Now())) // back to the present
			return openAt(t, box, c)
		},
		Reopen:  func(t *testing.T, k efs.KMS) efs.KMS { return openAt(t, k.(*KMS).box, c) },
		Advance: func(_ *testing.T, _ efs.KMS, d time.Duration) { c.Advance(d) },
	})
}

func TestBadKeyIDs(t *testing.T) {
	box, _ := newBox(t)
	k := mustOpen(t, box)
	for _, id := range []string{"", ".", "a/b", "../a", "a b", "ä", "-a", string(bytes.Repeat([]byte("a"), 129))} {
		if _, err := k.CreateKey(t.Context(), id, efs.KeyOptions{}); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("CreateKey(%q): %v", id, err)
		}
	}
	if _, err := box.Get(boxName); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("bad ids left something behind: %v", err)
	}
}

// A write that fails must change nothing, neither on disk nor in memory.
func TestFailedWriteChangesNothing(t *testing.T) {
	box, dir := newBox(t)
	k := mustOpen(t, box)
	if _, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	sealed := filepath.Join(dir, "sealed")
	if err := os.Rename(sealed, sealed+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.CreateKey(t.Context(), "b", efs.KeyOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("CreateKey without a directory: %v", err)
	}
	if _, err := k.RotateKey(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("RotateKey without a directory: %v", err)
	}
	if err := os.Rename(sealed+".away", sealed); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*KMS{k, mustOpen(t, box)} {
		infos, err := l.ListKeys(t.Context())
		if err != nil || len(infos) != 1 || infos[0].Version != 1 {
			t.Errorf("after failed writes: %+v, %v", infos, err)
		}
	}
}

func TestDamagedStore(t *testing.T) {
	box, _ := newBox(t)
	for name, content := range map[string]any{
		"no cbor":      "text",
		"no versions":  storedKeys{2, map[string]storedMaster{"a": {State: efs.KeyEnabled}}, nil},
		"no state":     storedKeys{2, map[string]storedMaster{"a": {Versions: []storedVersion{{Number: 1, Key: make([]byte, secret.Size)}}}}, nil},
		"wrong number": storedKeys{2, map[string]storedMaster{"a": {State: efs.KeyEnabled, Versions: []storedVersion{{Number: 2, Key: make([]byte, secret.Size)}}}}, nil},
		"short key":    storedKeys{2, map[string]storedMaster{"a": {State: efs.KeyEnabled, Versions: []storedVersion{{Number: 1, Key: make([]byte, 5)}}}}, nil},
		"unknown":      map[int]any{1: 1, 2: map[string]any{}, 9: "new"},
		"newer":        map[int]any{1: 3},
	} {
		b, err := detcbor.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Put(boxName, b); err != nil {
			t.Fatal(err)
		}
		if k, err := Open(box); err == nil {
			t.Errorf("%s: opened %+v", name, k.keys)
		}
	}
}

func TestClosedKnowsNoKeys(t *testing.T) {
	box, _ := newBox(t)
	k := mustOpen(t, box)
	if _, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	k.Close()
	if _, err := k.Wrap(t.Context(), "a", make([]byte, 32), efs.Binding{}); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("Wrap after Close: %v", err)
	}
}
