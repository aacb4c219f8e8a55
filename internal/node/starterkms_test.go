package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/efs-project/efs/internal/starter"
)

var bg = context.Background()

// awayKMS is a real KMS of another root that a test can take away.
type awayKMS struct {
	efs.KMS
	mu  sync.Mutex
	err error
}

func (k *awayKMS) answer(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

func (k *awayKMS) state() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *awayKMS) Wrap(ctx context.Context, id string, key []byte, b efs.Binding) ([]byte, error) {
	if err := k.state(); err != nil {
		return nil, err
	}
	return k.KMS.Wrap(ctx, id, key, b)
}

func (k *awayKMS) Unwrap(ctx context.Context, id string, wrapped []byte, b efs.Binding) ([]byte, error) {
	if err := k.state(); err != nil {
		return nil, err
	}
	return k.KMS.Unwrap(ctx, id, wrapped, b)
}

func newAwayKMS(t *testing.T) *awayKMS {
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
	if _, err := k.CreateKey(bg, "efs", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	return &awayKMS{KMS: k}
}

func reaches(t *testing.T, n *Node, want State) {
	t.Helper()
	for n.State() != want {
		if t.Context().Err() != nil {
			t.Fatal(n.State())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A KMS keeps the starter key: nobody sees it, and a start asks for it, as
// long as it takes.
func TestStarterKeyInAKMS(t *testing.T) {
	r, kms := newRig(t), newAwayKMS(t)
	cfg := r.config()
	cfg.StarterKMS, cfg.Providers = "vault/efs", map[string]efs.KMS{"vault": kms}
	n := r.openWith(cfg)
	kms.answer(efs.ErrUnavailable)
	show := func([][]byte) error { t.Error("the key was shown"); return nil }
	wantError(t, "init while the KMS is away", n.InitAs(bg, StarterForm{}, show), efs.ErrUnavailable)
	if n.State() != StateWaiting {
		t.Fatalf("state %s", n.State())
	}
	kms.answer(nil)
	if err := n.InitAs(bg, StarterForm{}, show); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, n, "user-data")
	closeNode(t, n)

	n = r.openWith(cfg)
	reaches(t, n, StateReady)
	if _, err := n.FS("user-data"); err != nil {
		t.Error(err)
	}
	// Its master key is rotated, then the starter key itself; shown for recovery.
	if _, err := n.RotateMaster(bg, "vault", "efs", false, nil); err != nil {
		t.Error(err)
	}
	var recovery string
	keep := func(lines [][]byte) error { recovery = string(lines[0]); return nil }
	if _, err := n.RotateStarter(bg, StarterRotation{StarterForm: StarterForm{Show: true}}, keep); err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)
	doc, err := os.ReadFile(filepath.Join(r.root, serverDir, starterFile))
	if err != nil || strings.Count(string(doc), "generation") != 1 || strings.Contains(string(doc), recovery) {
		t.Errorf("%s holds %s (%v)", starterFile, doc, err)
	}
	n = r.openWith(cfg)
	reaches(t, n, StateReady)
	closeNode(t, n)

	// Away: sealed, and ready to be told why; it opens when the KMS is back.
	kms.answer(efs.ErrUnavailable)
	n = r.openWith(cfg)
	for n.kmsTrouble() == "" {
		time.Sleep(5 * time.Millisecond)
	}
	if ok, reasons := n.Ready(); ok || !strings.Contains(strings.Join(reasons, " "), "waiting for its KMS") {
		t.Errorf("ready %t, %q", ok, reasons)
	}
	kms.answer(nil)
	reaches(t, n, StateReady)
	closeNode(t, n)

	// Without the KMS the key that was shown opens the root.
	kms.answer(efs.ErrRefused)
	n = r.openWith(cfg)
	if err := n.Unseal(bg, []byte(recovery)); err != nil && !errors.Is(err, efs.ErrRefused) {
		t.Fatal(err)
	}
	reaches(t, n, StateReady)
}

// What a rotation that was cut off leaves in starter.json does no harm.
func TestStarterKeyInAKMSAfterACrash(t *testing.T) {
	r, kms := newRig(t), newAwayKMS(t)
	cfg := r.config()
	cfg.StarterKMS, cfg.Providers = "vault/efs", map[string]efs.KMS{"vault": kms}
	n := r.openWith(cfg)
	if err := n.InitAs(bg, StarterForm{}, nil); err != nil {
		t.Fatal(err)
	}
	_, never, err := starter.Generate()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.keepStarter(bg, never, n.secrets().box.RootID(), 2); err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)
	n = r.openWith(cfg)
	reaches(t, n, StateReady)
	if _, err := n.RotateStarter(bg, StarterRotation{}, nil); err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)
	reaches(t, r.openWith(cfg), StateReady)
}

// The master key that wraps the starter key is neither disabled nor deleted: a
// sealed server could not enable it again.
func TestTheStarterKeysMasterKeyStays(t *testing.T) {
	r, kms := newRig(t), newAwayKMS(t)
	cfg := r.config()
	cfg.StarterKMS, cfg.Providers = "vault/efs", map[string]efs.KMS{"vault": kms}
	n := r.openWith(cfg)
	if err := n.InitAs(bg, StarterForm{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateKey(bg, "vault", "spare", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := n.DisableKey(bg, "vault", "efs")
	wantError(t, "disabling", err, efs.ErrRefused)
	_, err = n.ScheduleKeyDeletion(bg, "vault", "efs", n.DeletionWait(), true)
	wantError(t, "deleting", err, efs.ErrRefused)
	if s, err := n.DescribeKey(bg, "vault", "efs"); err != nil || s.State != efs.KeyEnabled {
		t.Errorf("the key is %+v, %v", s, err)
	}
	if _, err := n.DisableKey(bg, "vault", "spare"); err != nil {
		t.Errorf("disabling another: %v", err)
	}
	if _, err := n.ScheduleKeyDeletion(bg, "vault", "spare", n.DeletionWait(), false); err != nil {
		t.Errorf("deleting another: %v", err)
	}
	// Under a passphrase, the key may go.
	if _, err := n.RotateStarter(bg, StarterRotation{Passphrase: []byte("correct horse battery staple")}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := n.DisableKey(bg, "vault", "efs"); err != nil {
		t.Errorf("disabling it when it wraps the starter key no longer: %v", err)
	}
}
