package keyring

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/efs-project/efs"
	bolt "go.etcd.io/bbolt"
)

func head(fs efs.ID, revision, seq uint64, link byte) efs.Head {
	return efs.Head{FS: fs, Revision: revision, Seq: seq, Link: [32]byte{link}, Time: int64(revision)}
}

func (b *bench) anchor(t *testing.T, fs efs.ID) efs.Head {
	t.Helper()
	h, ok, err := b.Anchor(fs)
	if err != nil || !ok {
		t.Fatalf("Anchor: %v, %v", ok, err)
	}
	return h
}

func TestAnchorMovesForwardOnly(t *testing.T) {
	b := newBench(t, Options{})
	fs := b.create(t, "user-data", twoStages).FS()
	if _, ok, err := b.Anchor(fs); ok || err != nil {
		t.Fatalf("an anchor before any was set: %v, %v", ok, err)
	}
	if err := b.SetAnchor(t.Context(), head(fs, 10, 5, 5)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		head efs.Head
		err  error
		then uint64 // revision of the anchor
	}{
		{"the same head", head(fs, 10, 5, 5), nil, 10},
		{"a newer one without changes", head(fs, 11, 5, 5), nil, 11},
		{"a newer one", head(fs, 12, 6, 6), nil, 12},
		{"an older one", head(fs, 10, 5, 5), nil, 12},
		{"the same revision, another sequence", head(fs, 12, 5, 5), efs.ErrRolledBack, 12},
		{"the same revision, another link", head(fs, 12, 6, 7), efs.ErrRolledBack, 12},
		{"newer, but with fewer changes", head(fs, 13, 5, 5), efs.ErrRolledBack, 12},
		{"newer, with another past", head(fs, 13, 6, 7), efs.ErrRolledBack, 12},
		{"older, with more changes", head(fs, 11, 7, 7), efs.ErrRolledBack, 12},
		{"another file system", head(efs.NewID(), 13, 7, 7), efs.ErrNotFound, 12},
	} {
		if err := b.SetAnchor(t.Context(), c.head); !errors.Is(err, c.err) {
			t.Errorf("%s: got error %v, want %v", c.what, err, c.err)
		}
		if got := b.anchor(t, fs); got.Revision != c.then {
			t.Errorf("%s: the anchor is at revision %d, want %d", c.what, got.Revision, c.then)
		}
	}
	b.reopen(t)
	if got := b.anchor(t, fs); got != head(fs, 12, 6, 6) {
		t.Errorf("after reopening: %+v", got)
	}
	if err := b.ResetAnchor(t.Context(), head(fs, 3, 2, 9)); err != nil {
		t.Fatal(err)
	}
	if got := b.anchor(t, fs); got != head(fs, 3, 2, 9) {
		t.Errorf("after a forced reset: %+v", got)
	}
}

// An unchanged head must not cost a write.
func TestUnchangedAnchorIsNotWritten(t *testing.T) {
	b := newBench(t, Options{})
	fs := b.create(t, "user-data", oneStage).FS()
	if err := b.SetAnchor(t.Context(), head(fs, 1, 1, 1)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetAnchor(t.Context(), head(fs, 1, 1, 1)); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(b.path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the store was written (%v)", err)
	}
}

func TestSwappedAndChangedAnchors(t *testing.T) {
	b := newBench(t, Options{})
	x, y := b.create(t, "fx", oneStage).FS(), b.create(t, "fy", oneStage).FS()
	for _, fs := range []efs.ID{x, y} {
		if err := b.SetAnchor(t.Context(), head(fs, 1, 1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	var good []byte
	b.rewrite(t, func(tx *bolt.Tx) error {
		anchors := tx.Bucket(bucketAnchors)
		good = bytes.Clone(anchors.Get(x[:]))
		return anchors.Put(x[:], bytes.Clone(anchors.Get(y[:])))
	})
	_, _, err := b.Anchor(x)
	wantError(t, "another file system's anchor", err, efs.ErrDamaged)
	wantError(t, "setting over it", b.SetAnchor(t.Context(), head(x, 2, 2, 2)), efs.ErrDamaged)
	b.rewrite(t, func(tx *bolt.Tx) error {
		good[len(good)-1] ^= 1
		return tx.Bucket(bucketAnchors).Put(x[:], good)
	})
	_, _, err = b.Anchor(x)
	wantError(t, "a flipped byte", err, efs.ErrDamaged)
	if err := b.ResetAnchor(t.Context(), head(x, 2, 2, 2)); err != nil {
		t.Errorf("a forced reset: %v", err)
	}
}
