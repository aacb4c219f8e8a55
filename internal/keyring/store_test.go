package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	bolt "go.etcd.io/bbolt"
)

// Each way in which a crash can cut the destruction of keys off, and what the
// next start makes of it.
func TestScrubIsFinishedAfterACrash(t *testing.T) {
	for what, crash := range map[string]func(b *bench, s *store) error{
		"before the rewriting": func(*bench, *store) error { return nil },
		"while rewriting": func(b *bench, s *store) error {
			return os.WriteFile(s.beside(".new"), []byte("half"), 0o600)
		},
		"before the exchange": func(b *bench, s *store) error { return os.Link(s.path, s.beside(".old")) },
		"before overwriting": func(b *bench, s *store) error {
			old, err := os.ReadFile(s.path)
			if err != nil {
				return err
			}
			return os.WriteFile(s.beside(".old"), old, 0o600)
		},
	} {
		b := newBench(t, Options{})
		other := b.create(t, "other", oneStage)
		kept := wrapAll(t, other)
		var wrapped [][]byte
		var dropped []efs.ID
		for i := range 5 { // records over many pages, so that not all are soon written over
			k := b.create(t, fmt.Sprintf("user-data-%d", i), slices.Repeat(oneStage, maxStages))
			dropped = append(dropped, k.FS())
			for _, l := range k.all() {
				wrapped = append(wrapped, l.record().Wrapped)
			}
		}
		if err := b.store.update(func(tx *bolt.Tx) error {
			for _, fs := range dropped {
				if err := dropRecords(tx, fs); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.Close(), crash(b, b.store)); err != nil {
			t.Fatal(err)
		}
		b.Keyring = nil
		b.reopen(t)
		checkAbsent(t, filepath.Dir(b.path), wrapped)
		_, err := b.Keys(t.Context(), dropped[0])
		wantError(t, what, err, efs.ErrNotFound)
		if err := kept.open(b.keys(t, other.FS())); err != nil {
			t.Errorf("%s: another file system's keys: %v", what, err)
		}
	}
}

func TestOverwriteReachesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old")
	if err := os.WriteFile(path, bytes.Repeat([]byte("secret"), 30_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := overwrite(path); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(path); err != nil || !bytes.Equal(content, make([]byte, 180_000)) {
		t.Errorf("%d bytes are left of the old file (%v)", len(bytes.Trim(content, "\x00")), err)
	}
}

func TestRecordsAreDeterministic(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	rec := *k.set().roots[0].record()
	stored, err := detcbor.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	var back keyRecord
	if err := decode(stored, &back); err != nil {
		t.Fatal(err)
	}
	again, err := detcbor.Marshal(back)
	if err != nil || !bytes.Equal(stored, again) {
		t.Errorf("%x became %x (%v)", stored, again, err)
	}
	// 2: a byte string of 16 bytes (RFC 8949), not an array of numbers.
	if !bytes.Contains(stored, append([]byte{0x02, 0x50}, rec.ID[:]...)) {
		t.Errorf("the id is not a byte string: %x", stored)
	}
	if bytes.Contains(stored, []byte{0x07, 0x50}) {
		t.Errorf("an empty parent is written: %x", stored)
	}
}
