package keyring

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	bolt "go.etcd.io/bbolt"
)

// boxKey is a key that seals backups.
type boxKey struct {
	id  [16]byte
	key *secret.Key
}

func (k boxKey) ID() [16]byte                             { return k.id }
func (k boxKey) Derive(salt, info []byte) ([]byte, error) { return k.key.Derive(salt, info) }

func newBoxKey(t *testing.T) boxKey {
	t.Helper()
	k, err := secret.RandomKey()
	if err != nil {
		t.Fatal(err)
	}
	return boxKey{efs.NewID(), k}
}

// safe is where backups of a bench go.
type safe struct {
	*bench
	root efs.ID
	kek  boxKey
}

func newSafe(t *testing.T) safe {
	return safe{newBench(t, Options{}), efs.NewID(), newBoxKey(t)}
}

func (s safe) backup(t *testing.T, life time.Duration) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := s.Backup(&out, s.root, s.kek, s.clock.Now().Add(life)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (s safe) restore(t *testing.T, backup []byte, fs ...efs.ID) Restored {
	t.Helper()
	done, err := s.Restore(t.Context(), bytes.NewReader(backup), s.root, s.kek, fs)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(s.path), ".*restore*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	return done
}

// lose empties the key store, or takes one file system from it.
func (s safe) lose(t *testing.T, what func(tx *bolt.Tx) error) {
	t.Helper()
	s.rewrite(t, what)
}

func dropManifest(fs efs.ID) func(*bolt.Tx) error {
	return func(tx *bolt.Tx) error { return tx.Bucket(bucketFS).Delete(fs[:]) }
}

func TestRestoreBringsLostKeysBack(t *testing.T) {
	s := newSafe(t)
	k, kept := s.create(t, "user-data", twoStages), s.create(t, "kept", oneStage)
	rotate(t, k)
	u := newUnit(t, k)
	files, units, index := wrapAll(t, k), wrapUnit(t, u), root(t, k, "index")
	keptFiles := wrapAll(t, kept)
	backup := s.backup(t, 90*24*time.Hour)
	rotate(t, kept)
	after := wrapAll(t, kept) // of an epoch that the backup does not know
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(backup, wrapped(k)[0]) {
		t.Error("the backup shows wrapped keys")
	}
	s.Keyring = nil
	s.reopen(t)
	s.lose(t, func(tx *bolt.Tx) error { return dropAll(tx, k.FS()) })
	_, err := s.Keys(t.Context(), k.FS())
	wantError(t, "lost", err, efs.ErrNotFound)

	done := s.restore(t, backup, k.FS(), kept.FS())
	if len(done.Restored) != 1 || done.Restored[0] != k.FS() || len(done.Kept) != 1 || len(done.Missing) != 0 {
		t.Errorf("restored %+v", done)
	}
	for range 2 {
		k, kept = s.keys(t, k.FS()), s.keys(t, kept.FS())
		if err := errors.Join(files.open(k), units.open(k), keptFiles.open(kept), after.open(kept)); err != nil || !bytes.Equal(root(t, k, "index"), index) {
			t.Error(err)
		}
		if copies, err := s.Copies(); err != nil || len(copies) != 1 || copies[0].ID != done.Copy.ID {
			t.Errorf("copies: %v, %v", copies, err)
		}
		s.reopen(t)
	}
}

// With the whole store gone, all file systems come back; one that the backup
// does not know stays missing.
func TestRestoreIntoAnEmptyStore(t *testing.T) {
	s := newSafe(t)
	k := s.create(t, "user-data", oneStage)
	files, backup := wrapAll(t, k), s.backup(t, time.Hour)
	later := s.create(t, "later", oneStage)
	if err := errors.Join(s.Close(), os.Remove(s.path)); err != nil {
		t.Fatal(err)
	}
	s.Keyring = nil
	s.reopen(t)
	done := s.restore(t, backup, k.FS(), later.FS())
	if len(done.Restored) != 1 || len(done.Missing) != 1 || done.Missing[0] != later.FS() {
		t.Errorf("restored %+v", done)
	}
	if err := files.open(s.keys(t, k.FS())); err != nil {
		t.Error(err)
	}
	if copies, err := s.Copies(); err != nil || len(copies) != 1 {
		t.Errorf("copies: %v, %v", copies, err)
	}
}

// What was destroyed after the backup was made stays so.
func TestRestoreDestroysAgain(t *testing.T) {
	s := newSafe(t)
	k := s.create(t, "user-data", oneStage)
	u, kept := newUnit(t, k), newUnit(t, k)
	old, forgotten := wrapAll(t, k), wrapUnit(t, u)
	rotate(t, k)
	if err := k.Retire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	files, others := wrapAll(t, k), wrapUnit(t, kept)
	backup, share := s.backup(t, time.Hour), shares(t, u)
	if err := errors.Join(k.DestroyUnits(t.Context(), u.ID()), k.DestroyEpoch(t.Context(), 1)); err != nil {
		t.Fatal(err)
	}
	// A record of it is damaged, so that the keys here are of no use.
	victim := k.set().roots[0].record().ID
	s.lose(t, edit(k.FS(), victim, func(r *keyRecord) { r.Wrapped[20] ^= 1 }))
	if _, err := s.Keys(t.Context(), k.FS()); err == nil {
		t.Fatal("the damage was not noticed")
	}
	if done := s.restore(t, backup, k.FS()); len(done.Restored) != 1 {
		t.Fatalf("restored %+v", done)
	}
	k = s.keys(t, k.FS())
	if err := errors.Join(files.open(k), others.open(k)); err != nil {
		t.Error(err)
	}
	wantError(t, "a unit destroyed since", forgotten.open(k), efs.ErrForgotten)
	if err := old.open(k); err == nil {
		t.Error("an epoch destroyed since opens")
	}
	checkAbsent(t, filepath.Dir(s.path), share)
	// With the manifest gone as well, tombstones of units still count.
	s.lose(t, dropManifest(k.FS()))
	s.restore(t, backup, k.FS())
	wantError(t, "a unit destroyed since", forgotten.open(s.keys(t, k.FS())), efs.ErrForgotten)
}

func TestRestoreRefuses(t *testing.T) {
	s := newSafe(t)
	k := s.create(t, "user-data", oneStage)
	backup := s.backup(t, time.Hour)
	s.lose(t, dropManifest(k.FS()))
	try := func(what string, b []byte, root efs.ID, kek boxKey, want error) {
		t.Helper()
		_, err := s.Restore(t.Context(), bytes.NewReader(b), root, kek, []efs.ID{k.FS()})
		wantError(t, what, err, want)
		if _, err := s.Keys(t.Context(), k.FS()); !errors.Is(err, efs.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	changed := bytes.Clone(backup)
	changed[len(changed)/2] ^= 1
	try("changed", changed, s.root, s.kek, efs.ErrDamaged)
	try("cut", backup[:len(backup)-100], s.root, s.kek, efs.ErrDamaged)
	try("something else", []byte("hello, world, this is no backup"), s.root, s.kek, efs.ErrDamaged)
	try("of another root", backup, efs.NewID(), s.kek, efs.ErrWrongKey)
	try("under another key", backup, s.root, newBoxKey(t), efs.ErrWrongKey)
	s.one.answer(efs.ErrUnavailable)
	_, err := s.Restore(t.Context(), bytes.NewReader(backup), s.root, s.kek, []efs.ID{k.FS()})
	wantError(t, "while the KMS is away", err, efs.ErrUnavailable)
	s.one.answer(nil)
	s.clock.Advance(time.Hour)
	try("expired", backup, s.root, s.kek, efs.ErrRefused)
	if copies, err := s.Copies(); err != nil || len(copies) != 0 {
		t.Errorf("copies: %v, %v", copies, err)
	}
	_, err = s.Backup(new(bytes.Buffer), s.root, s.kek, s.clock.Now())
	wantError(t, "a backup that expires at once", err, efs.ErrBadInput)
}

// What a restoration that was cut off leaves is gone at the next start.
func TestRestoreCutOff(t *testing.T) {
	s := newSafe(t)
	left := s.store.beside(restoreSuffix)
	if err := os.WriteFile(left, []byte("wrapped keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Link(left, link); err != nil {
		t.Fatal(err)
	}
	s.reopen(t)
	if b, err := os.ReadFile(link); err != nil || !bytes.Equal(b, make([]byte, len(b))) {
		t.Errorf("it was not overwritten: %q, %v", b, err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// One damaged record does not cost what came after the backup: epochs and units
// that are here and good stay.
func TestRestoreKeepsWhatIsNewerAndGood(t *testing.T) {
	var old efs.ID // of a unit in the backup
	for what, harm := range map[string]func(k *Keys) func(*bolt.Tx) error{
		"a root secret": func(k *Keys) func(*bolt.Tx) error {
			return edit(k.FS(), k.set().roots[0].record().ID, func(r *keyRecord) { r.Wrapped[20] ^= 1 })
		},
		"a key of an old epoch": func(k *Keys) func(*bolt.Tx) error {
			return edit(k.FS(), k.set().keysOf(1)[0].record().ID, func(r *keyRecord) { r.Wrapped[20] ^= 1 })
		},
		"the manifest": func(k *Keys) func(*bolt.Tx) error { return dropManifest(k.FS()) },
		"a unit": func(k *Keys) func(*bolt.Tx) error {
			return func(tx *bolt.Tx) error {
				return tx.Bucket(bucketUnits).Put(keyPlace(k.fs, old), []byte("damaged"))
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newSafe(t)
			k := s.create(t, "user-data", oneStage)
			u := newUnit(t, k)
			files, units := wrapAll(t, k), wrapUnit(t, u)
			backup, index := s.backup(t, time.Hour), root(t, k, "index")
			if _, err := k.Restage(t.Context(), twoStages); err != nil {
				t.Fatal(err)
			}
			later := newUnit(t, k)
			old = u.ID()
			newFiles, newUnits := wrapAll(t, k), wrapUnit(t, later)
			s.lose(t, harm(k))
			done := s.restore(t, backup, k.FS())
			if len(done.Restored) != 1 {
				t.Fatalf("restored %+v", done)
			}
			for range 2 {
				k = s.keys(t, k.FS())
				if err := errors.Join(files.open(k), units.open(k), newFiles.open(k), newUnits.open(k)); err != nil {
					t.Error(err)
				}
				if !bytes.Equal(root(t, k, "index"), index) {
					t.Error("the root key is another one")
				}
				after := wrapAll(t, k)
				if err := after.open(k); err != nil {
					t.Error(err)
				}
				if again := s.restore(t, backup, k.FS()); len(again.Kept) != 1 {
					t.Errorf("restored again: %+v", again)
				}
				s.reopen(t)
			}
		})
	}
}
