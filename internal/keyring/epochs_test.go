package keyring

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
	bolt "go.etcd.io/bbolt"
)

// wrapped are the stored wraps of all keys, by which a test looks for them in
// the file.
func wrapped(k *Keys) (all [][]byte) {
	for _, l := range k.all() {
		all = append(all, l.record().Wrapped)
	}
	return all
}

func rotate(t *testing.T, k *Keys) int {
	t.Helper()
	n, err := k.Rotate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRotateBeginsANewEpoch(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", twoStages)
	old, index := wrapAll(t, k), root(t, k, "index")
	if n := rotate(t, k); n != 2 || k.Epoch() != 2 {
		t.Fatalf("the new epoch is %d and %d", n, k.Epoch())
	}
	fresh := wrapAll(t, k)
	if bytes.Equal(fresh.slots[0].Key, old.slots[0].Key) {
		t.Error("a new content was sealed with the old epoch")
	}
	for range 2 {
		if err := errors.Join(old.open(k), fresh.open(k)); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(root(t, k, "index"), index) {
			t.Error("the root keys changed")
		}
		if all := k.Epochs(); len(all) != 2 || !all[1].Newest || all[0].State != "live" || len(all[0].Stages) != 2 || all[1].Stages[1].Provider != "two" {
			t.Errorf("epochs are %+v", all)
		}
		b.reopen(t)
		k = b.keys(t, k.FS())
	}
}

// After Restage, each of the new providers is needed for the root key, and
// none of the old ones.
func TestRestagePutsTheRootKeyUnderOtherStages(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	old, index, before := wrapAll(t, k), root(t, k, "index"), wrapped(k)
	if n, err := k.Restage(t.Context(), twoStages); err != nil || n != 2 {
		t.Fatalf("epoch %d, %v", n, err)
	}
	checkAbsent(t, filepath.Dir(b.path), before[:1]) // the old root secret
	fresh := wrapAll(t, k)
	if len(fresh.slots) != 2 {
		t.Fatalf("%d stages", len(fresh.slots))
	}
	if epoch, r, err := k.Sealing(1); epoch != 1 || len(r) != 1 || err != nil {
		t.Errorf("writers under the old policy get epoch %d, %d stages, %v", epoch, len(r), err)
	}
	b.reopen(t)
	k = b.keys(t, k.FS())
	if err := errors.Join(old.open(k), fresh.open(k)); err != nil || !bytes.Equal(root(t, k, "index"), index) {
		t.Errorf("after reopening: %v", err)
	}
	for _, away := range []*fakeKMS{b.one, b.two} {
		b.reopen(t)
		away.answer(efs.ErrRefused)
		_, err := b.Keys(t.Context(), k.FS())
		wantError(t, "without "+away.name, err, efs.ErrRefused)
		away.answer(nil)
	}
	// Back to one stage, of the other provider: the first is no more needed.
	k = b.keys(t, k.FS())
	if _, err := k.Restage(t.Context(), twoStages[1:]); err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	b.one.answer(efs.ErrRefused)
	if !bytes.Equal(root(t, b.keys(t, k.FS()), "index"), index) {
		t.Error("the root key changed")
	}
}

func TestRestageChangesNothingWhenItFails(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	files, index := wrapAll(t, k), root(t, k, "index")
	for what, c := range map[string]struct {
		stages []efs.StagePolicy
		want   error
	}{
		"no stages":   {nil, efs.ErrBadInput},
		"no such KMS": {[]efs.StagePolicy{{Provider: "three", KeyID: "default"}}, efs.ErrNotFound},
		"no such key": {append(oneStage[:1:1], efs.StagePolicy{Provider: "two", KeyID: "none"}), efs.ErrNotFound},
	} {
		_, err := k.Restage(t.Context(), c.stages)
		wantError(t, what, err, c.want)
	}
	b.two.answer(efs.ErrUnavailable)
	_, err := k.Restage(t.Context(), twoStages)
	wantError(t, "a KMS that is away", err, efs.ErrUnavailable)
	b.reopen(t)
	k = b.keys(t, k.FS())
	if err := files.open(k); err != nil || k.Epoch() != 1 || !bytes.Equal(root(t, k, "index"), index) {
		t.Errorf("epoch %d, %v", k.Epoch(), err)
	}
}

func TestRetiredEpochSealsNothingNewAndIsDestroyed(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	wantError(t, "retiring the newest", k.Retire(t.Context(), 1), efs.ErrRefused)
	wantError(t, "retiring what is not there", k.Retire(t.Context(), 2), efs.ErrNotFound)
	old := wrapAll(t, k)
	first := k.set().keysOf(1)[0].record().Wrapped
	rotate(t, k)
	wantError(t, "destroying what is not retired", k.DestroyEpoch(t.Context(), 1), efs.ErrRefused)
	for range 2 { // again changes nothing
		if err := k.Retire(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.open(k); err != nil || k.Epochs()[0].State != "retired" {
		t.Errorf("a retired epoch: %v, %v", k.Epochs(), err)
	}
	fresh := wrapAll(t, k)
	for range 2 {
		if err := k.DestroyEpoch(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	checkAbsent(t, filepath.Dir(b.path), [][]byte{first})
	wantError(t, "a content of a destroyed epoch", old.open(k), seal.ErrNoKey)
	b.reopen(t)
	k = b.keys(t, k.FS())
	wantError(t, "a content of a destroyed epoch", old.open(k), seal.ErrNoKey)
	if err := fresh.open(k); err != nil || len(k.Epochs()) != 1 {
		t.Errorf("%v, %v", k.Epochs(), err)
	}
}

// Readers and writers go on while keys are exchanged around them.
func TestKeysChangeUnderReadersAndWriters(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	unit := newUnit(t, k)
	index := root(t, k, "index")
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for range 2 {
		work.Go(func() {
			for ctx.Err() == nil {
				_, recipients, err := k.Sealing(1)
				if err != nil {
					t.Error(err)
					return
				}
				s := wrapFor(t, k.FS(), recipients)
				u := wrapUnit(t, unit)
				got, err := k.Root("index")
				if err := errors.Join(err, s.open(k), u.open(k), k.Live()); err != nil || !bytes.Equal(got, index) {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 3 {
		rotate(t, k)
		if _, err := k.Restage(t.Context(), twoStages); err != nil {
			t.Error(err)
		}
		if _, err := k.Restage(t.Context(), oneStage); err != nil {
			t.Error(err)
		}
		if _, err := b.Rewrap(t.Context(), "one", "default", nil); err != nil {
			t.Error(err)
		}
	}
	stop()
	work.Wait()
}

func TestRewrapTakesTheNewestVersion(t *testing.T) {
	b := newBench(t, Options{})
	x, y, other := b.create(t, "fx", oneStage), b.create(t, "fy", twoStages), b.create(t, "fz", twoStages[1:])
	rotate(t, x)
	files, index := wrapAll(t, x), root(t, y, "index")
	if ids := b.Concerned("one", "default"); len(ids) != 2 {
		t.Fatalf("concerned: %v", ids)
	}
	before := append(wrapped(x), wrapped(y)[0])
	if _, err := b.one.RotateKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	var last int64
	n, err := b.Rewrap(t.Context(), "one", "default", func(done, total int64) { last = total - done })
	if err != nil || n != 5 || last != 0 { // x: root and two epochs; y: its first stage
		t.Fatalf("%d keys, %d left, %v", n, last, err)
	}
	checkAbsent(t, filepath.Dir(b.path), before)
	if pending, err := b.PendingRewraps(); err != nil || len(pending) != 0 {
		t.Errorf("pending: %v, %v", pending, err)
	}
	for _, l := range append(x.all(), y.set().roots[0]) {
		if v := l.record().Wrapped[4]; v != 2 {
			t.Errorf("the %s is wrapped by version %d", l.record(), v)
		}
	}
	for range 2 {
		if err := files.open(x); err != nil || !bytes.Equal(root(t, y, "index"), index) {
			t.Error(err)
		}
		b.reopen(t)
		x, y = b.keys(t, x.FS()), b.keys(t, y.FS())
	}
	b.keys(t, other.FS())
}

// A rewrapping that was cut off goes on where it stopped.
func TestRewrapIsResumed(t *testing.T) {
	b := newBench(t, Options{})
	for _, name := range []string{"fx", "fy", "fz"} {
		b.create(t, name, oneStage)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n, err := b.Rewrap(ctx, "one", "default", func(done, _ int64) {
		if done == 4 {
			cancel()
		}
	})
	wantError(t, "cut off", err, context.Canceled)
	if n != 4 {
		t.Errorf("%d keys were wrapped", n)
	}
	b.reopen(t)
	pending, err := b.PendingRewraps()
	if err != nil || len(pending) != 1 || pending[0] != (MasterKey{"one", "default"}) {
		t.Fatalf("pending: %v, %v", pending, err)
	}
	jobs := func() (all []efs.ID) {
		recs, err := b.under("one", "default")
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range recs {
			if rec.Job != (efs.ID{}) {
				all = append(all, rec.Job)
			}
		}
		return all
	}
	before := jobs()
	if err := b.ResumeRewraps(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := jobs()
	if len(before) != 4 || len(after) != 6 || after[0] != before[0] || after[5] != before[0] {
		t.Errorf("wrapped by %v, then by %v", before, after)
	}
}

// What an older format of the store holds opens, and can be changed.
func TestOlderFormatsOpen(t *testing.T) {
	for _, format := range []string{"format1", "format2", "format3"} {
		want, dir := copyExample(t, format)
		r, err := Open(filepath.Join(dir, "keys.db"), exampleKMS(t, dir, false), Options{})
		if err != nil {
			t.Fatal(err)
		}
		check := func(k *Keys) {
			t.Helper()
			s := slots{want.Context, want.FileKey, want.Slots}
			if err := s.open(k); err != nil || !bytes.Equal(root(t, k, "index"), want.Index) || !bytes.Equal(root(t, k, "names"), want.Names) {
				t.Errorf("%s: other keys (%v)", format, err)
			}
			if want.Unit.IsZero() {
				return
			}
			u, err := k.Unit(want.Unit)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := u.Root("names"); err != nil || !bytes.Equal(got, want.UnitNames) {
				t.Errorf("%s: another unit key (%v)", format, err)
			}
			if byTag, err := k.UnitByTag(want.UnitTag); err != nil || byTag.ID() != want.Unit {
				t.Errorf("%s: the tag leads to %v, %v", format, byTag, err)
			}
		}
		k, err := r.Keys(t.Context(), want.FS)
		if err != nil {
			t.Fatal(err)
		}
		check(k)
		rotate(t, k)
		check(k)
		if _, err := k.Restage(t.Context(), oneStage); err != nil {
			t.Fatal(err)
		}
		check(k)
		stored := byte(storeFormat)
		if want.Heir != "" {
			stored = recoveryStoreFormat
			check(inherited(t, filepath.Join(dir, "keys.db"), want))
		}
		if err := r.store.view(func(tx *bolt.Tx) error {
			if f := tx.Bucket(bucketMeta).Get(metaFormat); f[3] != stored {
				t.Errorf("%s: the store says format %x", format, f)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A file system whose other stage does not open keeps no other from being
// wrapped anew; the job stays to be done.
func TestRewrappingGoesOnPastAFileSystemThatDoesNotOpen(t *testing.T) {
	b := newBench(t, Options{})
	stuck, fine := b.create(t, "stuck", twoStages).FS(), b.create(t, "fine", oneStage).FS()
	b.reopen(t)
	b.two.answer(efs.ErrRefused)
	n, err := b.Rewrap(t.Context(), "one", "default", nil)
	wantError(t, "with one that does not open", err, efs.ErrRefused)
	if n != 2 {
		t.Errorf("%d keys were wrapped anew, want the two of the other", n)
	}
	if pending, err := b.PendingRewraps(); err != nil || len(pending) != 1 {
		t.Errorf("pending: %v, %v", pending, err)
	}
	b.two.answer(nil)
	b.reopen(t)
	if err := b.ResumeRewraps(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pending, err := b.PendingRewraps(); err != nil || len(pending) != 0 {
		t.Errorf("pending: %v, %v", pending, err)
	}
	for _, fs := range []efs.ID{stuck, fine} {
		k := b.keys(t, fs)
		if err := wrapAll(t, k).open(k); err != nil {
			t.Error(err)
		}
	}
}
