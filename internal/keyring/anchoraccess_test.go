package keyring

import (
	"bytes"
	"errors"
	"testing"

	"github.com/efs-project/efs"
	bolt "go.etcd.io/bbolt"
)

func (b *bench) accessAnchor(t *testing.T, fs efs.ID, want uint64) {
	t.Helper()
	if got, err := b.AccessAnchor(t.Context(), fs); got != want || err != nil {
		t.Fatalf("AccessAnchor: %d, %v; want %d", got, err, want)
	}
}

func TestAccessAnchorMovesForwardUntilTheAnchorIsReset(t *testing.T) {
	b := newBench(t, Options{})
	fs := b.create(t, "user-data", twoStages).FS()
	b.accessAnchor(t, fs, 0)
	for _, revision := range []uint64{7, 5, 9} {
		if err := b.AnchorAccess(t.Context(), fs, revision); err != nil {
			t.Fatal(err)
		}
	}
	b.accessAnchor(t, fs, 9)
	if err := b.SetAnchor(t.Context(), head(fs, 12, 6, 6)); err != nil {
		t.Fatal(err)
	}
	b.accessAnchor(t, fs, 9)
	if err := b.ResetAnchor(t.Context(), head(fs, 3, 2, 9)); err != nil {
		t.Fatal(err)
	}
	b.accessAnchor(t, fs, 0)
}

func TestChangedAccessAnchor(t *testing.T) {
	b := newBench(t, Options{})
	x, y := b.create(t, "data-x", twoStages).FS(), b.create(t, "data-y", twoStages).FS()
	for _, fs := range []efs.ID{x, y} {
		if err := b.AnchorAccess(t.Context(), fs, 4); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.store.update(func(tx *bolt.Tx) error {
		a := tx.Bucket(bucketAnchors)
		return a.Put(accessPlace(x), bytes.Clone(a.Get(accessPlace(y))))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AccessAnchor(t.Context(), x); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("the anchor of another file system: %v", err)
	}
	b.accessAnchor(t, y, 4)
}
