package node

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
)

func put(f *FileSystem, path, text string) error {
	_, err := f.Put(context.Background(), path, strings.NewReader(text), fsys.PutOptions{Size: -1})
	return err
}

func read(f *FileSystem, path string) (string, error) {
	file, err := f.Open(context.Background(), path)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<20))
	return string(b), errors.Join(err, file.Close())
}

// Disabling a master key stops the file systems under it with the very next
// request, and enabling it lets them go on.
func TestDisabledKeyStopsAtOnce(t *testing.T) {
	ctx := context.Background()
	n := newRig(t).open()
	f := mustCreate(t, n, "user-data")
	if err := put(f, "a", "hello"); err != nil {
		t.Fatal(err)
	}
	s, err := n.DisableKey(ctx, "local", "default")
	if err != nil || s.State != efs.KeyDisabled || !slices.Equal(s.FileSystems, []string{"user-data"}) {
		t.Fatalf("DisableKey: %+v, %v", s, err)
	}
	_, err = read(f, "a")
	wantError(t, "read", err, efs.ErrRefused)
	wantError(t, "write", put(f, "b", "more"), efs.ErrRefused)
	_, _, err = f.List(ctx, "", fsys.ListOptions{})
	wantError(t, "list", err, efs.ErrRefused)
	if ok, reasons := n.Ready(); ok || len(reasons) != 1 || !strings.Contains(reasons[0], "disabled") {
		t.Errorf("ready %v %q", ok, reasons)
	}
	if _, err := n.EnableKey(ctx, "local", "default"); err != nil {
		t.Fatal(err)
	}
	if got, err := read(f, "a"); err != nil || got != "hello" {
		t.Errorf("read after EnableKey: %q, %v", got, err)
	}
	_, err = f.Stat(ctx, "b")
	wantError(t, "what was refused", err, efs.ErrNotFound)
	if ok, reasons := n.Ready(); !ok {
		t.Errorf("not ready: %q", reasons)
	}
}

// A master key that wraps keys is not deleted unless somebody says that they
// are to be lost; another one is.
func TestDeletionOfKeys(t *testing.T) {
	ctx := context.Background()
	n := newRig(t).open()
	f := mustCreate(t, n, "user-data")
	if _, err := n.CreateKey(ctx, "local", "spare", efs.KeyOptions{Description: "for nothing"}); err != nil {
		t.Fatal(err)
	}
	_, err := n.ScheduleKeyDeletion(ctx, "local", "default", n.DeletionWait(), false)
	var used *KeyInUseError
	if !errors.As(err, &used) || !slices.Equal(used.FileSystems, []string{"user-data"}) || !errors.Is(err, efs.ErrRefused) {
		t.Fatalf("a key in use: %v", err)
	}
	if err := put(f, "a", "hello"); err != nil {
		t.Errorf("a refused deletion changed something: %v", err)
	}
	s, err := n.ScheduleKeyDeletion(ctx, "local", "spare", n.DeletionWait(), false)
	if err != nil || s.State != efs.KeyPendingDeletion || len(s.FileSystems) != 0 {
		t.Errorf("a key that is not in use: %+v, %v", s, err)
	}
	if _, err := n.ScheduleKeyDeletion(ctx, "local", "default", n.DeletionWait(), true); err != nil {
		t.Fatal(err)
	}
	wantError(t, "write under a key that is to be deleted", put(f, "b", "more"), efs.ErrRefused)
	if _, err := n.CancelKeyDeletion(ctx, "local", "default"); err != nil {
		t.Fatal(err)
	}
	wantError(t, "write under a key that is kept, but disabled", put(f, "b", "more"), efs.ErrRefused)
	if _, err := n.EnableKey(ctx, "local", "default"); err != nil {
		t.Fatal(err)
	}
	if err := put(f, "b", "more"); err != nil {
		t.Error(err)
	}
}

func TestListingKeys(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	cfg := r.config()
	cfg.Key, cfg.Providers = r.found(), map[string]efs.KMS{"other": newKMS(t)}
	n := r.openWith(cfg)
	mustCreate(t, n, "user-data")
	for _, provider := range []string{"other", "local"} {
		if _, err := n.CreateKey(ctx, provider, "b", efs.KeyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := n.ListKeys(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, k := range all {
		names = append(names, k.Provider+":"+k.ID+"="+strings.Join(k.FileSystems, ","))
	}
	if want := []string{"local:b=", "local:default=user-data", "other:b="}; !slices.Equal(names, want) {
		t.Errorf("keys %q, want %q", names, want)
	}
	if found, err := n.FindKey(ctx, "b"); err != nil || !slices.Equal(found, []string{"local", "other"}) {
		t.Errorf("FindKey: %q, %v", found, err)
	}
	_, err = n.ListKeys(ctx, "nowhere")
	wantError(t, "an unknown provider", err, efs.ErrNotFound)
	if s := n.KMSStatus(ctx); len(s) != 2 || s[0].Provider != "local" || !s[0].Ready || !s[1].Ready {
		t.Errorf("status %+v", s)
	}
	_, err = n.CreateKey(ctx, "local", "c", efs.KeyOptions{Description: "two\nlines"})
	wantError(t, "a bad description", err, efs.ErrBadInput)
}

// A file system whose master key was disabled when the server started is
// opened when the key is enabled, without another start.
func TestReopenedWhenItsKeyIsBack(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	n := r.open()
	if err := put(mustCreate(t, n, "user-data"), "a", "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.DisableKey(ctx, "local", "default"); err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)
	n = r.open()
	_, err := n.FS("user-data")
	wantError(t, "at start", err, efs.ErrRefused)
	if _, err := n.EnableKey(ctx, "local", "default"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "opening the file system", func() bool { _, err := n.FS("user-data"); return err == nil })
	f := must(n.FS("user-data"))
	if got, err := read(f, "a"); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

// newKMS returns a further local KMS, with keys of its own.
func newKMS(t *testing.T) *local.KMS {
	t.Helper()
	key, err := secret.RandomKey()
	if err != nil {
		t.Fatal(err)
	}
	box, err := starter.CreateBox(filepath.Join(t.TempDir(), "other"), key, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := local.Open(box)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}
