package bolt

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/indextest"
	"go.etcd.io/bbolt"
)

// filled makes an index with some changes and records, closed.
func filled(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "index.db")
	x, err := Create(path, indextest.FS, sealer, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"one", "two", "three"} {
		mustCommit(t, x, &efs.Txn{Changes: [][]byte{[]byte(c)}, Mutations: []efs.Mutation{record1(c, 1)}})
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func record1(k string, size int) efs.Mutation {
	return efs.Mutation{Key: efs.Key{Space: efs.SpaceEntries, Bytes: []byte(k)}, Sealed: make([]byte, size)}
}

func mustCommit(t *testing.T, x *Index, txn *efs.Txn) {
	t.Helper()
	if _, err := x.Commit(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
}

// edit changes a closed index behind its engine's back.
func edit(t *testing.T, path string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatDoesNotFit(t *testing.T) {
	meta := func(k, v []byte) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { return tx.Bucket(names[bucketMeta]).Put(k, v) }
	}
	head := func(h efs.Head) func(tx *bbolt.Tx) error { return meta(metaHead, sealer.SealHead(h)) }
	stranger := efs.NewID()
	for _, c := range []struct {
		name string
		edit func(tx *bbolt.Tx) error
		kind error
		says string
	}{
		{"newer format", meta(metaFormat, binary.BigEndian.AppendUint64(nil, formatVersion+1)), ErrNewer, "use the version that wrote it"},
		{"unknown format", meta(metaFormat, make([]byte, 8)), efs.ErrDamaged, "unknown format 0"},
		{"no format", meta(metaFormat, nil), efs.ErrDamaged, "not an index"},
		{"another file system", meta(metaFS, stranger[:]), efs.ErrDamaged, stranger.String()},
		{"head gone", meta(metaHead, nil), efs.ErrDamaged, "head"},
		{"head changed", meta(metaHead, append(sealer.SealHead(efs.Head{FS: indextest.FS}), ' ')), efs.ErrDamaged, "head"},
		{"head of another file system", head(efs.Head{FS: stranger, Seq: 3}), efs.ErrDamaged, stranger.String()},
		{"head behind", head(efs.Head{FS: indextest.FS, Seq: 2}), efs.ErrDamaged, "log ends at 3, head says 2"},
		{"head with another link", head(efs.Head{FS: indextest.FS, Seq: 3}), efs.ErrDamaged, "link"},
		{"last change cut off", func(tx *bbolt.Tx) error {
			return tx.Bucket(names[bucketChanges]).Delete(seqKey(3))
		}, efs.ErrDamaged, "log ends at 2, head says 3"},
		{"a gap in the log", func(tx *bbolt.Tx) error {
			return tx.Bucket(names[bucketChanges]).Delete(seqKey(2))
		}, efs.ErrDamaged, "gap"},
		{"last change replaced", func(tx *bbolt.Tx) error {
			b := tx.Bucket(names[bucketChanges])
			v := append([]byte{}, b.Get(seqKey(3))...)
			return b.Put(seqKey(3), append(v[:linkLen], "forged"...))
		}, efs.ErrDamaged, "does not follow"},
		{"malformed change", func(tx *bbolt.Tx) error {
			return tx.Bucket(names[bucketChanges]).Put(seqKey(4), []byte("x"))
		}, efs.ErrDamaged, "malformed"},
		{"a keyspace gone", func(tx *bbolt.Tx) error { return tx.DeleteBucket(names[efs.SpaceAccess]) }, efs.ErrDamaged, "access"},
		{"meta gone", func(tx *bbolt.Tx) error { return tx.DeleteBucket(names[bucketMeta]) }, efs.ErrDamaged, "not an index"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filled(t)
			edit(t, path, c.edit)
			refused(t, path, c.kind, c.says)
		})
	}
}

// refused checks that an index is not opened, and is not left locked.
func refused(t *testing.T, path string, kind error, says string) {
	t.Helper()
	for range 2 {
		x, err := Open(path, indextest.FS, sealer, Options{})
		if err == nil {
			_ = x.Close()
			t.Fatal("opened")
		}
		if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) {
			t.Fatalf("error %q, want one that says %q and is %v", err, says, kind)
		}
	}
}

func TestOpenRefusesDamagedFiles(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(b []byte) []byte
		says   string
	}{
		"empty":            {func([]byte) []byte { return nil }, "empty"},
		"not a database":   {func(b []byte) []byte { return make([]byte, len(b)) }, "invalid"},
		"text":             {func([]byte) []byte { return []byte("# not this file") }, ""},
		"cut in the pages": {func(b []byte) []byte { return b[:3*4096] }, ""},
		"cut in the metas": {func(b []byte) []byte { return b[:5000] }, ""},
		"pages overwritten": {func(b []byte) []byte {
			clear(b[2*4096:])
			return b
		}, ""},
		"pages of noise": {func(b []byte) []byte {
			for i := 2 * 4096; i < len(b); i++ {
				b[i] = byte(i*i>>3) | 1
			}
			return b
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, c.damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, path, efs.ErrDamaged, c.says)
		})
	}
}

func TestOpenWithOtherKeys(t *testing.T) {
	path := filled(t)
	if _, err := Open(path, indextest.FS, indextest.Sealer("other"), Options{}); !errors.Is(err, efs.ErrDamaged) {
		t.Fatalf("error %v", err)
	}
}

func TestOpenMakesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "index.db")
	refused(t, path, efs.ErrNotFound, "backup")
	if err := os.Symlink(filled(t), path); err != nil {
		t.Fatal(err)
	}
	refused(t, path, efs.ErrDamaged, "regular")
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("%v (%v) where only the link should be", names, err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	path := filled(t)
	x, err := Open(path, indextest.FS, sealer, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Open(path, indextest.FS, sealer, Options{}); !errors.Is(err, efs.ErrUnavailable) || !strings.Contains(err.Error(), "another server has this root open") {
		t.Errorf("second open: %v", err)
	}
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("k", 1)}})
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	// What a crash in the middle of an earlier attempt has left.
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	x, err := Create(path, indextest.FS, sealer, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("temporary file is left: %v", err)
	}
	if _, err := Create(path, indextest.FS, sealer, Options{}); !errors.Is(err, efs.ErrExists) {
		t.Errorf("created over an index: %v", err)
	}
}
