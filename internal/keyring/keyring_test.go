package keyring

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

func TestKeysSurviveReopening(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", twoStages)
	files, index, names := wrapAll(t, k), root(t, k, "index"), root(t, k, "names")
	if len(files.slots) != 2 || bytes.Equal(index, names) || len(index) != 32 {
		t.Fatalf("%d slots, roots %x and %x", len(files.slots), index, names)
	}
	b.reopen(t)
	again := b.keys(t, k.FS())
	if err := files.open(again); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(root(t, again, "index"), index) || !bytes.Equal(root(t, again, "names"), names) {
		t.Error("the root keys changed")
	}
	if again.Name() != "user-data" || again.FS() != k.FS() {
		t.Errorf("keys of %s (%s)", again.Name(), again.FS())
	}
}

func TestFileSystemsShareNothing(t *testing.T) {
	b := newBench(t, Options{})
	x, y := b.create(t, "fx", oneStage), b.create(t, "fy", oneStage)
	if bytes.Equal(root(t, x, "index"), root(t, y, "index")) {
		t.Error("two file systems have one index key")
	}
	wantError(t, "a content of another file system", wrapAll(t, x).open(y), seal.ErrNoKey)
}

// Each stage's provider must be needed, for contents and for the index.
func TestBothProvidersAreNeeded(t *testing.T) {
	for _, refuse := range []string{"one", "two"} {
		b := newBench(t, Options{})
		k := b.create(t, "user-data", twoStages)
		files := wrapAll(t, k)
		b.reopen(t)
		b.kms[refuse].(*fakeKMS).answer(efs.ErrRefused)
		_, err := b.Keys(t.Context(), k.FS())
		wantError(t, "opening without "+refuse, err, efs.ErrRefused)
		b.kms[refuse].(*fakeKMS).answer(nil)
		b.clock.Advance(retryAfter)
		if err := files.open(b.keys(t, k.FS())); err != nil {
			t.Error(err)
		}
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	index := root(t, k, "index")
	before, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Create(t.Context(), k.FS(), "other", oneStage)
	wantError(t, "the same id", err, efs.ErrExists)
	_, err = b.Create(t.Context(), efs.NewID(), "user-data", oneStage)
	wantError(t, "the same name", err, efs.ErrExists)
	after, err := os.ReadFile(b.path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("a refused Create wrote to the store (%v)", err)
	}
	if !bytes.Equal(root(t, b.keys(t, k.FS()), "index"), index) {
		t.Error("the keys changed")
	}
}

func TestCreateIsAllOrNothing(t *testing.T) {
	b := newBench(t, Options{})
	fs := efs.NewID()
	for what, c := range map[string]struct {
		name   string
		stages []efs.StagePolicy
		want   error
	}{
		"no stages":        {"user-data", nil, efs.ErrBadInput},
		"too many stages":  {"user-data", make([]efs.StagePolicy, maxStages+1), efs.ErrBadInput},
		"a bad name":       {"User Data", oneStage, efs.ErrBadInput},
		"unknown provider": {"user-data", append(oneStage[:1:1], efs.StagePolicy{Provider: "three", KeyID: "default"}), efs.ErrNotFound},
		"unknown key":      {"user-data", append(oneStage[:1:1], efs.StagePolicy{Provider: "two", KeyID: "none"}), efs.ErrNotFound},
	} {
		_, err := b.Create(t.Context(), fs, c.name, c.stages)
		wantError(t, what, err, c.want)
	}
	b.two.answer(efs.ErrRefused) // wraps, but does not unwrap
	_, err := b.Create(t.Context(), fs, "user-data", twoStages)
	wantError(t, "a KMS that only wraps", err, efs.ErrRefused)
	_, err = b.Keys(t.Context(), fs)
	wantError(t, "keys after failed Creates", err, efs.ErrNotFound)
	b.two.answer(nil)
	b.two.forged = make([]byte, 32)
	_, err = b.Create(t.Context(), fs, "user-data", twoStages)
	wantError(t, "a KMS that gives back another key", err, efs.ErrDamaged)
	b.two.forged = nil
	if _, err := b.Create(t.Context(), fs, "user-data", twoStages); err != nil {
		t.Errorf("Create after failed ones: %v", err)
	}
}

func TestDropLeavesNothing(t *testing.T) {
	b := newBench(t, Options{})
	k, other := b.create(t, "user-data", twoStages), b.create(t, "other", oneStage)
	files, kept := wrapAll(t, k), wrapAll(t, other)
	if err := b.SetAnchor(t.Context(), efs.Head{FS: k.FS(), Revision: 1, Seq: 1}); err != nil {
		t.Fatal(err)
	}
	var wrapped [][]byte
	for _, l := range k.all() {
		wrapped = append(wrapped, l.record().Wrapped)
	}
	if err := b.Drop(t.Context(), k.FS()); err != nil {
		t.Fatal(err)
	}
	wantError(t, "keys that were held", files.open(k), efs.ErrNotFound)
	wantError(t, "Live of keys that were held", k.Live(), efs.ErrNotFound)
	_, err := b.Keys(t.Context(), k.FS())
	wantError(t, "keys asked for again", err, efs.ErrNotFound)
	if err := kept.open(b.keys(t, other.FS())); err != nil {
		t.Errorf("another file system's keys: %v", err)
	}
	if err := b.Drop(t.Context(), k.FS()); err != nil {
		t.Errorf("dropping again: %v", err)
	}
	checkAbsent(t, filepath.Dir(b.path), wrapped)
	b.reopen(t)
	if err := kept.open(b.keys(t, other.FS())); err != nil {
		t.Errorf("another file system's keys after reopening: %v", err)
	}
}

// checkAbsent looks for secrets in every file of dir, free pages included.
func checkAbsent(t *testing.T, dir string, secrets [][]byte) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("beside keys.db there is something left: %v, %v", entries, err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if bytes.Contains(content, s) {
				t.Errorf("%s still holds a destroyed record", e.Name())
			}
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	b := newBench(t, Options{})
	_, err := Open(b.path, b.kms, Options{})
	wantError(t, "opening keys.db twice", err, efs.ErrUnavailable)
}

func TestStoreIsPrivate(t *testing.T) {
	b := newBench(t, Options{})
	if info, err := os.Stat(b.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestClosedKeyring(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	files := wrapAll(t, k)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, "a held key", files.open(k), efs.ErrStopped)
	_, err := b.Keys(t.Context(), k.FS())
	wantError(t, "Keys", err, efs.ErrStopped)
	_, err = b.Create(t.Context(), efs.NewID(), "more", oneStage)
	wantError(t, "Create", err, efs.ErrStopped)
	wantError(t, "Drop", b.Drop(t.Context(), k.FS()), efs.ErrStopped)
}

// A whole sealed file, as the core makes them: it opens after a restart, and
// not without one of the two stages' keys.
func TestSealedFile(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", twoStages)
	content, plain := efs.NewID(), []byte("a prescription")
	p := &seal.Params{FS: k.FS(), Content: content, SegmentSize: 64 << 10, Stages: stagesOf(t, k)}
	sealed, _, err := seal.SealBytes(nil, plain, p, seal.Recovery{})
	if err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	k = b.keys(t, k.FS())
	open := &seal.Open{FS: k.FS(), Content: content, Identities: []seal.Identity{k.Identity()}, Size: -1, PlainSize: -1}
	got, _, err := seal.OpenBytes(nil, sealed, open)
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%q, %v", got, err)
	}
	k.set().newest().keys[1].destroy(efs.ErrRefused)
	_, _, err = seal.OpenBytes(nil, sealed, open)
	wantError(t, "without the second stage's key", err, efs.ErrRefused)
}
