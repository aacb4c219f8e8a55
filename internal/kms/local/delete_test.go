package local

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/kmstest"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
)

// material returns the bytes of a master key's newest version.
func material(t *testing.T, k *KMS, id string) (out []byte) {
	t.Helper()
	m := k.keys[id]
	if err := m.versions[len(m.versions)-1].key.With(func(b []byte) { out = bytes.Clone(b) }); err != nil {
		t.Fatal(err)
	}
	return out
}

// stored returns what the Box holds, unsealed.
func stored(t *testing.T, box *starter.Box) []byte {
	t.Helper()
	b, err := box.Get(boxName)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// doomed returns a KMS with a key that is due a day from now, and its material.
func doomed(t *testing.T, box *starter.Box, c *kmstest.Clock, every time.Duration) (*KMS, []byte) {
	t.Helper()
	k, err := open(box, Options{Clock: c.Now}, every)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	if _, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ScheduleDeletion(t.Context(), "a", MinDeletionWait); err != nil {
		t.Fatal(err)
	}
	key := material(t, k, "a")
	if !bytes.Contains(stored(t, box), key) {
		t.Fatal("the key is not where this test looks for it")
	}
	return k, key
}

// A key that is due is destroyed while the KMS runs: in memory, in the sealed
// file, and in the blocks of the file before.
func TestDueKeysAreDestroyed(t *testing.T) {
	box, dir := newBox(t)
	c := kmstest.NewClock(time.Unix(1e9, 0))
	k, key := doomed(t, box, c, time.Millisecond)
	k.mu.RLock()
	held := k.keys["a"].versions[0].key
	k.mu.RUnlock()
	old := filepath.Join(dir, "old")
	if err := os.Link(filepath.Join(dir, "sealed", boxName+".sealed"), old); err != nil {
		t.Fatal(err)
	}
	c.Advance(MinDeletionWait)
	gone := false
	for range 2000 {
		if gone = !bytes.Contains(stored(t, box), key); gone {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if !gone {
		t.Fatal("the key is still in the sealed file")
	}
	k.Close() // the sweep has ended
	if b, err := os.ReadFile(old); err != nil || len(b) == 0 || !bytes.Equal(b, make([]byte, len(b))) {
		t.Errorf("the old file's blocks hold %x, %v", b, err)
	}
	if err := held.With(func([]byte) {}); !errors.Is(err, secret.ErrDestroyed) {
		t.Errorf("the key is still in memory: %v", err)
	}
}

// A key that fell due while nothing ran is destroyed at the next start.
func TestDueKeysAreDestroyedAtStart(t *testing.T) {
	box, _ := newBox(t)
	c := kmstest.NewClock(time.Unix(1e9, 0))
	k, key := doomed(t, box, c, time.Hour)
	k.Close()
	c.Advance(MinDeletionWait)
	k = openAt(t, box, c)
	if bytes.Contains(stored(t, box), key) {
		t.Error("the key is still in the sealed file")
	}
	_, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{})
	if !errors.Is(err, efs.ErrExists) {
		t.Errorf("the id of a deleted key was used again: %v", err)
	}
}

// While the deletion cannot be stored, the key is gone for every caller, is not
// forgotten, and the deletion is made up for.
func TestDeletionThatFails(t *testing.T) {
	box, dir := newBox(t)
	c := kmstest.NewClock(time.Unix(1e9, 0))
	k, key := doomed(t, box, c, time.Hour)
	sealed := filepath.Join(dir, "sealed")
	if err := os.Rename(sealed, sealed+".away"); err != nil {
		t.Fatal(err)
	}
	c.Advance(MinDeletionWait)
	k.deleteDue()
	if _, err := k.DescribeKey(t.Context(), "a"); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("a key that is due: %v", err)
	}
	if _, err := k.CancelDeletion(t.Context(), "a"); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("cancelling when it is too late: %v", err)
	}
	if err := os.Rename(sealed+".away", sealed); err != nil {
		t.Fatal(err)
	}
	k.deleteDue()
	if bytes.Contains(stored(t, box), key) {
		t.Error("the key is still in the sealed file")
	}
}

func TestDeletionWaits(t *testing.T) {
	box, _ := newBox(t)
	k := mustOpen(t, box)
	if _, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{-1, 0, MinDeletionWait - 1, MaxDeletionWait + 1} {
		if _, err := k.ScheduleDeletion(t.Context(), "a", wait); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("a wait of %s: %v", wait, err)
		}
	}
	for _, wait := range []time.Duration{MinDeletionWait, DefaultDeletionWait, MaxDeletionWait} {
		if info, err := k.ScheduleDeletion(t.Context(), "a", wait); err != nil || info.State != efs.KeyPendingDeletion {
			t.Errorf("a wait of %s: %+v, %v", wait, info, err)
		}
	}
}
