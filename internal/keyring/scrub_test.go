package keyring

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What a scrub left that failed, as for want of space, does not keep the next one from
// destroying.
func TestAFailedScrubIsDoneByTheNext(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	u := newUnit(t, k)
	old := shares(t, u)
	// The new file has its buckets and not all records: the volume was full.
	other, err := openStore(filepath.Join(t.TempDir(), "other.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.close(); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(other.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.store.beside(".new"), made, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.DestroyUnits(t.Context(), u.ID()); err != nil {
		t.Fatalf("destroying after a scrub that failed: %v", err)
	}
	checkAbsent(t, filepath.Dir(b.path), old)
}

// An exchange that fails leaves the store in use, and what it left is destroyed
// by the next one.
func TestAFailedExchangeLeavesTheStoreInUse(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	u, stays := newUnit(t, k), newUnit(t, k)
	old := shares(t, u)
	root := unitRoot(t, stays)
	in := b.store.beside(".old")
	if err := os.MkdirAll(filepath.Join(in, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := k.DestroyUnits(t.Context(), u.ID()); err == nil {
		t.Fatal("a file that was in the way was not")
	}
	if got := unitRoot(t, stays); !bytes.Equal(got, root) {
		t.Error("another unit's key has changed")
	}
	if err := os.RemoveAll(in); err != nil {
		t.Fatal(err)
	}
	if err := k.DestroyUnits(t.Context(), u.ID()); err != nil {
		t.Fatal(err)
	}
	checkAbsent(t, filepath.Dir(b.path), old)
}

// What is still to be overwritten, and cannot be now, does not make a rotation
// look as if it had failed.
func TestARotationDoesNotWaitForAScrub(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	u := newUnit(t, k)
	if err := os.MkdirAll(filepath.Join(b.store.beside(".new"), "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := k.DestroyUnits(t.Context(), u.ID()); err == nil {
		t.Fatal("a file that was in the way was not")
	}
	if epoch, err := k.Rotate(t.Context()); err != nil || epoch != 2 || k.Epoch() != 2 {
		t.Errorf("epoch %d, %v", epoch, err)
	}
	if err := k.Retire(t.Context(), 1); err != nil {
		t.Error(err)
	}
}
