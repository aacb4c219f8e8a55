package keyring

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/efs-project/efs/internal/starter"
	"github.com/efs-project/efs/seal"
)

// fakeKMS is a real local KMS whose answers a test can replace and count.
type fakeKMS struct {
	efs.KMS
	name    string
	unwraps atomic.Int64
	mu      sync.Mutex
	fail    error
	forged  []byte // given back in place of every key
}

func (f *fakeKMS) Name() string { return f.name }

func (f *fakeKMS) Unwrap(ctx context.Context, id string, wrapped []byte, b efs.Binding) ([]byte, error) {
	f.unwraps.Add(1)
	f.mu.Lock()
	fail, forged := f.fail, f.forged
	f.mu.Unlock()
	if fail != nil || forged != nil {
		return bytes.Clone(forged), fail
	}
	return f.KMS.Unwrap(ctx, id, wrapped, b)
}

func (f *fakeKMS) answer(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is a keyring with two providers.
type bench struct {
	*Keyring
	path  string
	kms   map[string]efs.KMS
	one   *fakeKMS
	two   *fakeKMS
	clock *clock
	opts  Options
}

func newKMS(t *testing.T, name string) *fakeKMS {
	t.Helper()
	_, key, err := starter.Generate()
	if err != nil {
		t.Fatal(err)
	}
	box, err := starter.CreateBox(filepath.Join(t.TempDir(), "server"), key, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := local.Open(box)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	if _, err := k.CreateKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	return &fakeKMS{KMS: k, name: name}
}

func newBench(t *testing.T, opts Options) *bench {
	t.Helper()
	b := &bench{path: filepath.Join(t.TempDir(), "keys.db"), one: newKMS(t, "one"), two: newKMS(t, "two"),
		clock: &clock{now: time.Unix(1e9, 0)}, opts: opts}
	b.kms = map[string]efs.KMS{"one": b.one, "two": b.two}
	b.opts.Clock = b.clock.Now
	b.reopen(t)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func (b *bench) reopen(t *testing.T) {
	t.Helper()
	if b.Keyring != nil {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if b.Keyring, err = Open(b.path, b.kms, b.opts); err != nil {
		t.Fatal(err)
	}
}

var (
	oneStage  = []efs.StagePolicy{{Algorithm: efs.AES256, Provider: "one", KeyID: "default"}}
	twoStages = append(oneStage[:1:1], efs.StagePolicy{Algorithm: efs.ChaCha20Poly1305, Provider: "two", KeyID: "default"})
)

func (b *bench) create(t *testing.T, name string, stages []efs.StagePolicy) *Keys {
	t.Helper()
	k, err := b.Create(t.Context(), efs.NewID(), name, stages)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (b *bench) keys(t *testing.T, fs efs.ID) *Keys {
	t.Helper()
	k, err := b.Keys(t.Context(), fs)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func root(t *testing.T, k *Keys, purpose string) []byte {
	t.Helper()
	b, err := k.Root(purpose)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func stagesOf(t *testing.T, k *Keys) []seal.Stage {
	t.Helper()
	recipients, err := k.Recipients()
	if err != nil {
		t.Fatal(err)
	}
	var stages []seal.Stage
	for _, r := range recipients {
		stages = append(stages, seal.Stage{Suite: seal.AES256GCM, Recipients: []seal.Recipient{r}})
	}
	return stages
}

// sealed is a stage's file key wrapped for a file system.
type slots struct {
	ctx   seal.Context
	key   []byte
	slots []seal.Slot
}

func wrapAll(t *testing.T, k *Keys) slots {
	t.Helper()
	s := slots{ctx: seal.Context{FS: k.FS(), Content: efs.NewID(), Suite: seal.AES256GCM}, key: bytes.Repeat([]byte{7}, 32)}
	for i, stage := range stagesOf(t, k) {
		s.ctx.Stage = i
		slot, err := stage.Recipients[0].Wrap(s.key, s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		s.slots = append(s.slots, slot)
	}
	return s
}

// open returns the first error of unwrapping all slots with k's identity.
func (s slots) open(k *Keys) error {
	for i, slot := range s.slots {
		s.ctx.Stage = i
		key, err := k.Identity().Unwrap(slot, s.ctx)
		if err != nil {
			return err
		}
		if !bytes.Equal(key, s.key) {
			return errors.New("another file key came out")
		}
	}
	return nil
}

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
		b.clock.pass(retryAfter)
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
		wrapped = append(wrapped, l.rec.Wrapped)
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
	k.newest[1].destroy(efs.ErrRefused)
	_, _, err = seal.OpenBytes(nil, sealed, open)
	wantError(t, "without the second stage's key", err, efs.ErrRefused)
}
