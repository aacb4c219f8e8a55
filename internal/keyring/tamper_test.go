package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	bolt "go.etcd.io/bbolt"
)

// rewrite changes the stored records of a closed keyring and opens it again.
func (b *bench) rewrite(t *testing.T, change func(tx *bolt.Tx) error) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b.Keyring = nil
	db, err := bolt.Open(b.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(change); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
}

// edit changes one key record.
func edit(fs, id efs.ID, change func(*keyRecord)) func(*bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		keys := tx.Bucket(bucketKeys)
		var rec keyRecord
		if err := decode(keys.Get(keyPlace(fs, id)), &rec); err != nil {
			return err
		}
		change(&rec)
		stored, err := detcbor.Marshal(rec)
		if err != nil {
			return err
		}
		return keys.Put(keyPlace(fs, id), stored)
	}
}

func wantTrouble(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, efs.ErrWrongKey) && !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("%s: got error %v, want efs.ErrWrongKey or efs.ErrDamaged", what, err)
	}
}

// What a record says of itself cannot be changed without notice.
func TestChangedRecords(t *testing.T) {
	for what, change := range map[string]func(*keyRecord){
		"id":       func(r *keyRecord) { r.ID[0]++ },
		"kind":     func(r *keyRecord) { r.Kind = "unit" },
		"state":    func(r *keyRecord) { r.State = "destroyed" },
		"fs":       func(r *keyRecord) { r.FS[0]++ },
		"purpose":  func(r *keyRecord) { r.Purpose = "other" },
		"stage":    func(r *keyRecord) { r.Stage++ },
		"epoch":    func(r *keyRecord) { r.Epoch++ },
		"wrapped":  func(r *keyRecord) { r.Wrapped[len(r.Wrapped)-1] ^= 1 },
		"shorter":  func(r *keyRecord) { r.Wrapped = r.Wrapped[:10] },
		"provider": func(r *keyRecord) { r.Provider = "two" },
	} {
		for _, kd := range []kind{kindRoot, kindEpoch} {
			b := newBench(t, Options{})
			k := b.create(t, "user-data", oneStage)
			id := k.set().manifest.Roots[0]
			if kd == kindEpoch {
				id = k.set().manifest.Epochs[0].Keys[0]
			}
			b.rewrite(t, edit(k.FS(), id, change))
			_, err := b.Keys(t.Context(), k.FS())
			wantTrouble(t, "changed "+what+" of the "+string(kd)+" key", err)
		}
	}
}

// One file system's wrapped keys, put into another's records.
func TestSwappedWraps(t *testing.T) {
	b := newBench(t, Options{})
	x, y := b.create(t, "fx", oneStage), b.create(t, "fy", oneStage)
	for what, pair := range map[string][2]keyRecord{
		"root secrets": {*x.set().roots[0].record(), *y.set().roots[0].record()},
		"epoch keys":   {*x.set().newest().keys[0].record(), *y.set().newest().keys[0].record()},
		"root for key": {*x.set().newest().keys[0].record(), *x.set().roots[0].record()},
	} {
		victim, donor := pair[0], pair[1]
		b.rewrite(t, edit(victim.FS, victim.ID, func(r *keyRecord) { r.Wrapped = donor.Wrapped }))
		_, err := b.Keys(t.Context(), victim.FS)
		wantError(t, "swapped "+what, err, efs.ErrWrongKey)
		b.rewrite(t, edit(victim.FS, victim.ID, func(r *keyRecord) { r.Wrapped = victim.Wrapped }))
		b.keys(t, victim.FS)
	}
}

func TestSwappedManifests(t *testing.T) {
	b := newBench(t, Options{})
	x, y := b.create(t, "fx", oneStage), b.create(t, "fy", oneStage)
	b.rewrite(t, func(tx *bolt.Tx) error {
		fs := tx.Bucket(bucketFS)
		xid, yid := x.FS(), y.FS()
		xm, ym := bytes.Clone(fs.Get(xid[:])), bytes.Clone(fs.Get(yid[:]))
		return errors.Join(fs.Put(xid[:], ym), fs.Put(yid[:], xm))
	})
	_, err := b.Keys(t.Context(), x.FS())
	wantError(t, "exchanged manifests", err, efs.ErrWrongKey)
}

// A stage taken away, or a name changed, breaks the manifest's tag.
func TestChangedManifest(t *testing.T) {
	for what, change := range map[string]func(*manifest){
		"a stage taken away": func(m *manifest) { m.Roots, m.Epochs[0].Keys = m.Roots[:1], m.Epochs[0].Keys[:1] },
		"an epoch's stage":   func(m *manifest) { m.Epochs[0].Keys = m.Epochs[0].Keys[:1] },
		"another name":       func(m *manifest) { m.Name = "other" },
		"another time":       func(m *manifest) { m.Created++ },
		"no epoch":           func(m *manifest) { m.Epochs = nil },
		"no roots":           func(m *manifest) { m.Roots = nil },
	} {
		b := newBench(t, Options{})
		k := b.create(t, "user-data", twoStages)
		b.rewrite(t, func(tx *bolt.Tx) error {
			m := *k.set().manifest
			m.Epochs = []epoch{k.set().manifest.Epochs[0]}
			change(&m)
			body, err := detcbor.Marshal(m)
			if err != nil {
				return err
			}
			return tx.Bucket(bucketFS).Put(m.FS[:], append(body, k.set().sum...))
		})
		_, err := b.Keys(t.Context(), k.FS())
		wantError(t, what, err, efs.ErrDamaged)
	}
}

func TestManifestEveryByteFlipped(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	stored := k.set().stored()
	records := map[efs.ID]keyRecord{}
	for _, l := range k.all() {
		records[l.record().ID] = *l.record()
	}
	for i := range stored {
		flipped := bytes.Clone(stored)
		flipped[i] ^= 1
		k, err := b.assemble(k.FS(), flipped, records)
		if err == nil {
			err = k.set().verify(t.Context())
		}
		if err == nil {
			t.Errorf("byte %d flipped: the manifest was taken", i)
		}
	}
}

// The key store of another root: its keys were wrapped by other master keys.
func TestKeyStoreOfAnotherRoot(t *testing.T) {
	b, foreign := newBench(t, Options{}), newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	theirs, err := foreign.Create(t.Context(), k.FS(), "user-data", oneStage)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Close(), foreign.Close(), os.Rename(foreign.path, b.path)); err != nil {
		t.Fatal(err)
	}
	b.Keyring = nil
	b.reopen(t)
	_, err = b.Keys(t.Context(), theirs.FS())
	wantError(t, "another root's key store", err, efs.ErrWrongKey)
	_, err = b.Keys(t.Context(), efs.NewID())
	wantError(t, "a file system that it does not know", err, efs.ErrNotFound)
}

// Damage of the file gives an error or keys that are right, never a crash.
func TestDamagedFile(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	index := root(t, k, "index")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for range 150 {
		damaged := bytes.Clone(whole)
		var at [8]byte
		_, _ = rand.Read(at[:])
		off := int(binary.BigEndian.Uint64(at[:]) % uint64(len(damaged)-64))
		_, _ = rand.Read(damaged[off : off+64])
		if err := os.WriteFile(b.path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if !opensAs(t, b, k.FS(), index) {
			refused++
		}
	}
	for _, n := range []int{1, 100, 4096, 8192, len(whole) / 2} {
		if err := os.WriteFile(b.path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if opensAs(t, b, k.FS(), index) {
			t.Errorf("cut at %d: opened", n)
		}
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}

// opensAs reports whether the store opens; if it does, its keys must be right.
func opensAs(t *testing.T, b *bench, fs efs.ID, index []byte) bool {
	t.Helper()
	r, err := Open(b.path, b.kms, b.opts)
	if err != nil {
		return false
	}
	defer func() { _ = r.Close() }()
	k, err := r.Keys(t.Context(), fs)
	if err != nil {
		return false
	}
	if !bytes.Equal(root(t, k, "index"), index) {
		t.Error("a damaged store gave other keys")
	}
	return true
}

func TestNewerFormatsAreRefused(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	b.rewrite(t, edit(k.FS(), k.set().manifest.Roots[0], func(r *keyRecord) { r.Format = newestFormat + 1 }))
	if _, err := b.Keys(t.Context(), k.FS()); err == nil {
		t.Error("a record of a newer format was taken")
	}
	if err := b.store.update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketMeta).Put(metaFormat, []byte{0, 0, 0, recoveryStoreFormat + 1})
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(b.path, b.kms, b.opts); err == nil {
		t.Error("a store of a newer format was opened")
	}
}
