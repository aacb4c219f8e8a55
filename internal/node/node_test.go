package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
	"github.com/efs-project/efs/internal/userkey"
)

// rig is a root with its starter key, opened again and again.
type rig struct {
	t    *testing.T
	root string
	key  []byte
	log  *bytes.Buffer
}

func newRig(t *testing.T) *rig {
	key := make([]byte, secret.Size)
	rand.Read(key)
	return &rig{t: t, root: filepath.Join(t.TempDir(), "efs"), key: key, log: &bytes.Buffer{}}
}

func (r *rig) config() Config {
	return Config{Root: r.root, Logger: slog.New(slog.NewTextHandler(r.log, nil))}
}

func (r *rig) found() *starter.Found {
	r.t.Helper()
	k, err := secret.NewKey(bytes.Clone(r.key))
	if err != nil {
		r.t.Fatal(err)
	}
	return &starter.Found{Key: k, From: "test"}
}

// open opens the root with its key.
func (r *rig) open() *Node {
	r.t.Helper()
	cfg := r.config()
	cfg.Key = r.found()
	return r.openWith(cfg)
}

func (r *rig) openWith(cfg Config) *Node {
	r.t.Helper()
	n, err := New(context.Background(), cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { closeNode(r.t, n) })
	return n
}

func closeNode(t *testing.T, n *Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func mustCreate(t *testing.T, n *Node, name string) *FileSystem {
	t.Helper()
	if err := n.CreateFS(context.Background(), name, nil); err != nil {
		t.Fatal(err)
	}
	f, err := n.FS(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// An empty root without a key waits; Init makes a key, shows it before it seals
// anything, and serves; without the key the root is sealed; Unseal opens it.
func TestStates(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	n := r.openWith(r.config())
	if n.State() != StateWaiting || !strings.Contains(r.log.String(), WaitingHint) {
		t.Fatalf("state %s, log %s", n.State(), r.log)
	}
	if ok, reasons := n.Ready(); ok || len(reasons) != 1 {
		t.Errorf("ready %v %v", ok, reasons)
	}
	wantError(t, "create", n.CreateFS(ctx, "user-data", nil), efs.ErrSealed)
	wantError(t, "delete", n.DeleteFS(ctx, "user-data", nil), efs.ErrSealed)
	_, err := n.FS("user-data")
	wantError(t, "FS", err, efs.ErrSealed)
	_, err = n.Certificate()
	wantError(t, "certificate", err, efs.ErrSealed)
	wantError(t, "unseal", n.Unseal(ctx, []byte("x")), efs.ErrNotFound)

	unseen := errors.New("nobody saw it")
	wantError(t, "init", n.Init(ctx, func([]byte) error { return unseen }), unseen)
	if n.State() != StateWaiting {
		t.Fatalf("an unseen key initialised the root: %s", n.State())
	}
	var key string
	if err := n.Init(ctx, func(k []byte) error { key = string(k); return nil }); err != nil {
		t.Fatal(err)
	}
	if ok, reasons := n.Ready(); !ok || len(reasons) > 0 {
		t.Errorf("not ready: %v", reasons)
	}
	wantError(t, "second init", n.Init(ctx, func([]byte) error { t.Error("a second key was shown"); return nil }), efs.ErrExists)
	mustCreate(t, n, "user-data")
	instance := n.Instance()
	closeNode(t, n)
	if n.State() != StateStopped {
		t.Errorf("state %s after Close", n.State())
	}

	n = r.openWith(r.config())
	if n.State() != StateSealed {
		t.Fatalf("state %s", n.State())
	}
	wantError(t, "init of a sealed root", n.Init(ctx, func([]byte) error { t.Error("a second key was shown"); return nil }), efs.ErrExists)
	other, k, err := starter.Generate()
	if err != nil {
		t.Fatal(err)
	}
	k.Destroy()
	wantError(t, "other key", n.Unseal(ctx, other), efs.ErrWrongKey)
	wantError(t, "no key", n.Unseal(ctx, []byte("abc")), efs.ErrBadInput)
	wantError(t, "passphrase", n.UnsealPassphrase(ctx, []byte("correct horse battery staple")), efs.ErrBadInput)
	if n.State() != StateSealed {
		t.Fatalf("state %s after wrong keys", n.State())
	}
	if err := n.Unseal(ctx, []byte(key)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.FS("user-data"); err != nil {
		t.Error(err)
	}
	if n.Instance() == instance {
		t.Error("two starts have the same instance")
	}
	wantError(t, "second unseal", n.Unseal(ctx, []byte(key)), efs.ErrRefused)
}

// A wrong key at start is refused, and nothing is written.
func TestWrongKeyAtStart(t *testing.T) {
	r := newRig(t)
	closeNode(t, r.open())
	before := tree(t, r.root)
	other := newRig(t)
	other.root = r.root
	cfg := other.config()
	cfg.Key = other.found()
	_, err := New(context.Background(), cfg)
	wantError(t, "start", err, efs.ErrWrongKey)
	if after := tree(t, r.root); !slices.Equal(before, after) {
		t.Errorf("the root changed:\n%v\n%v", before, after)
	}
	r.open()
}

func TestOneServer(t *testing.T) {
	r := newRig(t)
	r.open()
	_, err := New(context.Background(), r.config())
	wantError(t, "second server", err, efs.ErrUnavailable)
}

// Files survive a restart; the server's certificate stays the same.
func TestRestart(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	n := r.open()
	f := mustCreate(t, n, "user-data")
	if _, err := f.Put(ctx, "a/b", strings.NewReader("hello"), fsys.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
	fingerprint := n.Fingerprint()
	closeNode(t, n)
	n = r.open()
	if n.Fingerprint() != fingerprint {
		t.Error("the certificate changed")
	}
	f, err := n.FS("user-data")
	if err != nil {
		t.Fatal(err)
	}
	file, err := f.Open(ctx, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if got, err := io.ReadAll(io.NewSectionReader(file, 0, 5)); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if s := n.Status(ctx); len(s.Problems) > 0 || len(s.FileSystems[0].Problems) > 0 {
		t.Errorf("problems after a plain restart: %v %v", s.Problems, s.FileSystems[0].Problems)
	}
	wantError(t, "closed file system", func() error { _, err := n.FS("nowhere"); return err }(), efs.ErrNotFound)
}

// A certificate is made anew for a further host and before it ends.
func TestCertificateRenewal(t *testing.T) {
	r := newRig(t)
	n := r.open()
	first, ca := n.Fingerprint(), must(n.ServerCA())
	closeNode(t, n)

	cfg := r.config()
	cfg.Key, cfg.Hostnames = r.found(), []string{"efs.example.org", "192.0.2.1"}
	n = r.openWith(cfg)
	cert := must(n.Certificate())
	if n.Fingerprint() == first || cert.Leaf.VerifyHostname("efs.example.org") != nil || cert.Leaf.VerifyHostname("192.0.2.1") != nil {
		t.Error("the certificate does not have the new names")
	}
	if !bytes.Equal(ca, must(n.ServerCA())) {
		t.Error("the authority changed")
	}
	second := n.Fingerprint()
	closeNode(t, n)

	cfg.Key = r.found()
	cfg.Clock = func() time.Time { return time.Now().Add(300 * 24 * time.Hour) }
	n = r.openWith(cfg)
	if n.Fingerprint() == second {
		t.Error("a certificate in its last third was kept")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Taking something from a user ends the user's sessions and is told.
func TestAccessHooks(t *testing.T) {
	ctx := context.Background()
	n := newRig(t).open()
	f := mustCreate(t, n, "user-data")
	var told []string
	n.OnAccessChange(func(fs, user string) { told = append(told, fs+"/"+user) })
	_, pub, err := userkey.Generate("app1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Users.CreateUser(ctx, "app1", pub, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Users.Revoke(ctx, "app1"); err != nil {
		t.Fatal(err)
	}
	if err := n.DeleteFS(ctx, "user-data", nil); err != nil {
		t.Fatal(err)
	}
	if want := []string{"user-data/app1", "user-data/"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// tree lists every path below dir with its size.
func tree(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
