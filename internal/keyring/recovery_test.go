package keyring

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
	bolt "go.etcd.io/bbolt"
)

// heir is a recovery recipient.
type heir struct {
	*seal.PrivateKey
	public string
}

func newHeir(t *testing.T) heir {
	t.Helper()
	k, err := seal.GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	return heir{k, k.Public().String()}
}

// opens opens a copy of the bench's store without any KMS.
func (h heir) opens(t *testing.T, b *bench, fs efs.ID) (*Keys, error) {
	t.Helper()
	r, err := OpenCopy(b.path, nil, Options{Recovery: h.PrivateKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r.Keys(t.Context(), fs)
}

func setRecovery(t *testing.T, k *Keys, recipient string) {
	t.Helper()
	if err := k.SetRecovery(t.Context(), recipient); err != nil {
		t.Fatal(err)
	}
}

func items(t *testing.T, b *bench, fs efs.ID) []storedItem {
	t.Helper()
	all, err := b.recoveryItems(fs)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Contents, names and units open with the recipient's private key alone, those
// of all epochs that there are, whatever is done with the keys after it is set.
func TestRecoveryRecipientOpensEverything(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	first, index := wrapAll(t, k), root(t, k, "index")
	unit := newUnit(t, k)
	unitSlots := wrapUnit(t, unit)
	gone := newUnit(t, k)
	goneSlots := wrapUnit(t, gone)
	h := newHeir(t)
	setRecovery(t, k, h.public)
	rotate(t, k)
	second := wrapAll(t, k)
	if _, err := k.Restage(t.Context(), twoStages); err != nil {
		t.Fatal(err)
	}
	third := wrapAll(t, k)
	if err := k.Retire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := k.DestroyUnits(t.Context(), gone.ID()); err != nil {
		t.Fatal(err)
	}
	again, err := h.opens(t, b, k.FS())
	if err != nil {
		t.Fatal(err)
	}
	for n, s := range []slots{first, second, third, unitSlots} {
		if err := s.open(again); err != nil {
			t.Errorf("content %d: %v", n, err)
		}
	}
	if !bytes.Equal(root(t, again, "index"), index) {
		t.Error("another root key")
	}
	wantError(t, "a forgotten unit", goneSlots.open(again), efs.ErrForgotten)
	if err := k.DestroyEpoch(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	again, err = h.opens(t, b, k.FS())
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "a destroyed epoch", first.open(again), seal.ErrNoKey)
	if err := second.open(again); err != nil {
		t.Error(err)
	}
}

func TestAnotherKeyIsNoHeir(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	_, err := newHeir(t).opens(t, b, k.FS())
	wantError(t, "without a recipient", err, efs.ErrNotFound)
	setRecovery(t, k, newHeir(t).public)
	_, err = newHeir(t).opens(t, b, k.FS())
	wantError(t, "another private key", err, efs.ErrWrongKey)
	wantError(t, "no public key", k.SetRecovery(t.Context(), "efs1nonsense"), efs.ErrBadInput)
}

// What was sealed to a recipient that is one no more leaves no byte in the store.
func TestFormerRecipientLeavesNothing(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	one, two := newHeir(t), newHeir(t)
	setRecovery(t, k, one.public)
	var sealed [][]byte
	for _, item := range items(t, b, k.FS()) {
		sealed = append(sealed, item.value[len(item.value)-200:len(item.value)-tagSize])
	}
	if len(sealed) != 2 {
		t.Fatalf("%d items", len(sealed))
	}
	setRecovery(t, k, two.public)
	checkAbsent(t, filepath.Dir(b.path), sealed)
	if _, err := two.opens(t, b, k.FS()); err != nil {
		t.Error(err)
	}
	_, err := one.opens(t, b, k.FS())
	wantError(t, "the former recipient", err, efs.ErrWrongKey)
	setRecovery(t, k, "")
	if n := len(items(t, b, k.FS())); n != 0 {
		t.Errorf("%d items are left", n)
	}
	b.reopen(t)
	if r := b.keys(t, k.FS()).Recovery(); r != "" {
		t.Errorf("the recipient is %q", r)
	}
}

// SetRecovery, which runs at each start, makes good what was altered; and an
// altered item opens for nobody.
func TestAlteredRecoveryItems(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	h := newHeir(t)
	setRecovery(t, k, h.public)
	files := wrapAll(t, k)
	before := items(t, b, k.FS())
	if setRecovery(t, k, h.public); !bytes.Equal(before[1].value, items(t, b, k.FS())[1].value) {
		t.Error("what was whole was sealed anew")
	}
	for i := range before {
		forged := bytes.Clone(before[i].value)
		forged[len(forged)/2] ^= 1
		if err := b.store.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketRecovery).Put(before[i].place, forged) }); err != nil {
			t.Fatal(err)
		}
		if again, err := h.opens(t, b, k.FS()); err == nil {
			if err := files.open(again); err == nil {
				t.Errorf("item %d was altered, and opens", i)
			}
		}
		setRecovery(t, k, h.public)
		again, err := h.opens(t, b, k.FS())
		if err == nil {
			err = files.open(again)
		}
		if err != nil {
			t.Errorf("item %d, made good: %v", i, err)
		}
	}
}

// The copies beside the file system are enough, but for units.
func TestExportsOpenInPlaceOfTheStore(t *testing.T) {
	b := newBench(t, Options{})
	k, dir := b.create(t, "user-data", twoStages), t.TempDir()
	h := newHeir(t)
	setRecovery(t, k, h.public)
	rotate(t, k)
	files, index, unit := wrapAll(t, k), root(t, k, "index"), wrapUnit(t, newUnit(t, k))
	if err := k.Export(dir); err != nil {
		t.Fatal(err)
	}
	if err := k.CheckExport(dir); err != nil {
		t.Error(err)
	}
	for what, o := range map[string]struct {
		kms  map[string]efs.KMS
		opts Options
	}{"with the KMSs": {b.kms, Options{}}, "with the recovery key": {nil, Options{Recovery: h.PrivateKey}}} {
		r, fs, err := OpenExports(t.Context(), dir, o.kms, o.opts)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		again, err := r.Keys(t.Context(), fs)
		if err == nil {
			err = files.open(again)
		}
		if err != nil || fs != k.FS() || !bytes.Equal(root(t, again, "index"), index) {
			t.Errorf("%s: %v", what, err)
		}
		wantError(t, what+": a unit", unit.open(again), seal.ErrNoKey)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	setRecovery(t, k, "")
	if err := k.Export(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ExportRecovery)); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", ExportRecovery, err)
	}
}

// A copy is opened while the store is in use, and nothing is written.
func TestCopyOfAStoreInUse(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	files := wrapAll(t, k)
	r, err := OpenCopy(b.path, b.kms, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if id, err := r.Find("user-data"); err != nil || id != k.FS() {
		t.Errorf("%s, %v", id, err)
	}
	_, err = r.Find("other")
	wantError(t, "another name", err, efs.ErrNotFound)
	again, err := r.Keys(t.Context(), k.FS())
	if err == nil {
		err = files.open(again)
	}
	if err != nil {
		t.Error(err)
	}
	_, err = again.Rotate(t.Context())
	wantError(t, "Rotate", err, efs.ErrRefused)
	_, err = OpenCopy(filepath.Join(t.TempDir(), "keys.db"), nil, Options{})
	wantError(t, "no store", err, efs.ErrNotFound)
}

// The previous release refuses a store with a recipient, and opens others.
func TestFormatOfAStoreWithARecipient(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	format := func() (n byte) {
		_ = b.store.view(func(tx *bolt.Tx) error { n = tx.Bucket(bucketMeta).Get(metaFormat)[3]; return nil })
		return n
	}
	if format() != storeFormat {
		t.Errorf("format %d without a recipient", format())
	}
	setRecovery(t, k, newHeir(t).public)
	if format() != recoveryStoreFormat || k.set().manifest.Format != newestFormat {
		t.Errorf("formats %d and %d with one", format(), k.set().manifest.Format)
	}
}

// inherited opens the keys of an example with its private key alone.
func inherited(t *testing.T, path string, want example) *Keys {
	t.Helper()
	id, err := seal.ParseIdentity(want.Heir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenCopy(path, nil, Options{Recovery: id})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	k, err := r.Keys(t.Context(), want.FS)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
