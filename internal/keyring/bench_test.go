package keyring

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/kmstest"
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

// bench is a keyring with two providers.
type bench struct {
	*Keyring
	path  string
	kms   map[string]efs.KMS
	one   *fakeKMS
	two   *fakeKMS
	clock *kmstest.Clock
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
	if _, err := k.CreateKey(t.Context(), "default", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	return &fakeKMS{KMS: k, name: name}
}

func newBench(t *testing.T, opts Options) *bench {
	t.Helper()
	b := &bench{path: filepath.Join(t.TempDir(), "keys.db"), one: newKMS(t, "one"), two: newKMS(t, "two"),
		clock: kmstest.NewClock(time.Unix(1e9, 0)), opts: opts}
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

// slots are a file key wrapped for each stage of a file system.
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
