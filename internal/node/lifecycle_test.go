package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
	"golang.org/x/sys/unix"
)

// What create-fs began and a crash cut off, at each of its steps, is gone
// after the next start, and the name is free.
func TestCreationCutOff(t *testing.T) {
	for step := range 7 {
		r := newRig(t)
		n := r.open()
		keep := mustCreate(t, n, "other")
		rec := fsRecord{ID: efs.NewID(), Name: "user-data", Created: time.Now(), Phase: phaseCreating}
		if err := n.secrets().registry.put(rec); err != nil {
			t.Fatal(err)
		}
		cut := errors.New("cut off")
		said := 0
		func() {
			defer func() {
				if p := recover(); p != nil && p != cut {
					panic(p)
				}
			}()
			f, err := n.build(context.Background(), rec, efs.DefaultPolicy(), func(string) {
				if said == step {
					panic(cut) // as a crash would: nothing is undone
				}
				said++
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := f.close(); err != nil { // wholly built, not yet recorded as ready
				t.Fatal(err)
			}
		}()
		before := len(tree(t, keep.parts.places.home))
		closeNode(t, n)

		n = r.open()
		if _, err := os.Lstat(filepath.Join(r.root, "user-data")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("step %d: something is left: %v", step, err)
		}
		if _, err := n.secrets().ring.Keys(context.Background(), rec.ID); !errors.Is(err, efs.ErrNotFound) {
			t.Errorf("step %d: keys are left: %v", step, err)
		}
		if got := len(tree(t, keep.parts.places.home)); got != before {
			t.Errorf("step %d: another file system was touched", step)
		}
		mustCreate(t, n, "user-data")
	}
}

// A creation that fails leaves nothing, and says why.
func TestCreationFails(t *testing.T) {
	r := newRig(t)
	n := r.open()
	ctx := context.Background()
	for _, name := range []string{"", "a", "Upper", "../up", ".server", strings.Repeat("x", 64)} {
		wantError(t, name, n.CreateFS(ctx, name, nil), efs.ErrBadInput)
	}
	if err := os.Mkdir(filepath.Join(r.root, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantError(t, "taken", n.CreateFS(ctx, "taken", nil), efs.ErrExists)

	mustCreate(t, n, "other")
	before := tree(t, r.root)
	err := n.CreateFS(ctx, "user-data", func(line string) {
		if strings.HasPrefix(line, "Creating system config") {
			// Something stands where the directory is to be made.
			if err := os.WriteFile(filepath.Join(r.root, "user-data", "system"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	if err == nil {
		t.Fatal("created over a file")
	}
	if after := tree(t, r.root); !slices.Equal(before, after) {
		t.Errorf("left behind:\n%v\n%v", before, after)
	}
	mustCreate(t, n, "user-data")
	wantError(t, "again", n.CreateFS(ctx, "user-data", nil), efs.ErrExists)
}

// Deleting destroys the keys at once; a deletion that was cut off goes on at
// the next start.
func TestDeletion(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	n := r.open()
	f := mustCreate(t, n, "user-data")
	id := f.ID()
	if _, err := f.Put(ctx, "x", strings.NewReader("hello"), fsys.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
	gone, stop := context.WithCancel(ctx)
	stop()
	_ = n.DeleteFS(gone, "user-data", nil) // nobody waits for it, which is no failure of it
	if _, err := n.secrets().ring.Keys(ctx, id); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("keys are left: %v", err)
	}
	wantError(t, "FS", func() error { _, err := n.FS("user-data"); return err }(), efs.ErrNotFound)
	if _, err := f.Put(ctx, "y", strings.NewReader("late"), fsys.PutOptions{Size: -1}); err == nil {
		t.Error("a deleted file system was written to")
	}
	closeNode(t, n)

	n = r.open()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if len(n.secrets().registry.all()) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the deletion did not go on")
		}
	}
	if _, err := os.Lstat(filepath.Join(r.root, "user-data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
	wantError(t, "delete", n.DeleteFS(ctx, "user-data", nil), efs.ErrNotFound)
}

// Deleting follows no symbolic link out of the file system.
func TestDeletionFollowsNoLink(t *testing.T) {
	r := newRig(t)
	n := r.open()
	mustCreate(t, n, "user-data")
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(r.root, "user-data", "files", "link")); err != nil {
		t.Fatal(err)
	}
	if err := n.DeleteFS(context.Background(), "user-data", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(outside); err != nil {
		t.Error(err)
	}
}

// A directory that somebody put there is told of and not served, also as a
// whole copy of a file system under another name.
func TestPlantedDirectory(t *testing.T) {
	r := newRig(t)
	n := r.open()
	mustCreate(t, n, "user-data")
	closeNode(t, n)
	if err := os.CopyFS(filepath.Join(r.root, "planted"), os.DirFS(filepath.Join(r.root, "user-data"))); err != nil {
		t.Fatal(err)
	}
	n = r.open()
	if _, err := n.FS("planted"); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("planted is served: %v", err)
	}
	if p := n.Status(context.Background()).Problems; len(p) != 1 || !strings.Contains(p[0], "planted' is not a file system of this server") {
		t.Errorf("problems %v", p)
	}
	if !strings.Contains(r.log.String(), "planted") {
		t.Error("nothing in the log")
	}
}

// An fs.toml that somebody changed is told of, not followed, and put right.
func TestPolicyExport(t *testing.T) {
	r := newRig(t)
	n := r.open()
	f := mustCreate(t, n, "user-data")
	path, policy := filepath.Join(f.SystemDir(), "fs.toml"), f.Policy()
	closeNode(t, n)
	right, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(right), "AES256", "none")), 0o644); err != nil {
		t.Fatal(err)
	}
	n = r.open()
	f, err = n.FS("user-data")
	if err != nil {
		t.Fatal(err)
	}
	if f.Policy().Stages[0] != policy.Stages[0] {
		t.Errorf("policy %+v", f.Policy())
	}
	if len(f.problems) != 1 || !strings.Contains(f.problems[0], "fs.toml") {
		t.Errorf("problems %v", f.problems)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(right) {
		t.Errorf("not put right: %v", err)
	}
}

// One file system that fails does not stop the others, and keeps its reason.
func TestOneFails(t *testing.T) {
	r := newRig(t)
	n := r.open()
	mustCreate(t, n, "good")
	bad := mustCreate(t, n, "bad")
	closeNode(t, n)
	if err := os.Remove(bad.parts.places.index); err != nil {
		t.Fatal(err)
	}
	n = r.open()
	if _, err := n.FS("good"); err != nil {
		t.Error(err)
	}
	if _, err := n.FS("bad"); err == nil || !strings.Contains(err.Error(), "index") {
		t.Errorf("bad: %v", err)
	}
	ok, reasons := n.Ready()
	if !ok || len(reasons) != 1 || !strings.Contains(reasons[0], "bad") {
		t.Errorf("ready %v %v", ok, reasons)
	}
	list := n.ListFS(context.Background())
	if len(list) != 2 || list[0].State != "failed" || list[0].Reason == "" || list[1].State != "open" {
		t.Errorf("%+v", list)
	}
	if err := n.DeleteFS(context.Background(), "bad", nil); err != nil {
		t.Errorf("deleting one that failed: %v", err)
	}
}

// An index put back from the past is refused with what to do, and opened when
// told to.
func TestRollback(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	n := r.open()
	f := mustCreate(t, n, "user-data")
	index := f.parts.places.index
	closeNode(t, n)
	old, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	n = r.open()
	f, err = n.FS("user-data")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Put(ctx, "x", strings.NewReader("hello"), fsys.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)
	if err := os.WriteFile(index, old, 0o600); err != nil {
		t.Fatal(err)
	}
	n = r.open()
	_, err = n.FS("user-data")
	wantError(t, "older index", err, efs.ErrRolledBack)
	if err == nil || !strings.Contains(err.Error(), "--accept-rollback user-data") {
		t.Errorf("%v does not tell what to do", err)
	}
	closeNode(t, n)
	cfg := r.config()
	cfg.Key, cfg.AcceptRollback = r.found(), []string{"user-data"}
	n = r.openWith(cfg)
	if _, err := n.FS("user-data"); err != nil {
		t.Error(err)
	}
}

// A list of file systems that was taken away is damage, not an empty root.
func TestListTakenAway(t *testing.T) {
	r := newRig(t)
	n := r.open()
	mustCreate(t, n, "user-data")
	closeNode(t, n)
	if err := os.Remove(filepath.Join(r.root, serverDir, "sealed", registryName+".sealed")); err != nil {
		t.Fatal(err)
	}
	cfg := r.config()
	cfg.Key = r.found()
	_, err := New(context.Background(), cfg)
	wantError(t, "start", err, efs.ErrDamaged)
}

func TestStorageMustExist(t *testing.T) {
	r := newRig(t)
	cfg := r.config()
	cfg.Storage.Files = filepath.Join(t.TempDir(), "not-mounted")
	_, err := New(context.Background(), cfg)
	wantError(t, "missing storage", err, efs.ErrNotFound)
	cfg = r.config()
	cfg.Root = "relative"
	_, err = New(context.Background(), cfg)
	wantError(t, "relative root", err, efs.ErrBadInput)
}

func TestTops(t *testing.T) {
	one := Config{Root: "/efs"}
	if got := one.places("a").tops(); !slices.Equal(got, []string{"/efs/a"}) {
		t.Errorf("%v", got)
	}
	split := Config{Root: "/efs", Storage: Storage{Index: "/ssd", Files: "/nfs", System: "/ssd"}}
	if got := split.places("a").tops(); !slices.Equal(got, []string{"/efs/a", "/ssd/a", "/nfs/a"}) {
		t.Errorf("%v", got)
	}
	if networkVolumes[int64(unix.NFS_SUPER_MAGIC)] != "NFS" || networkVolumes[int64(uint32(unix.CIFS_SUPER_MAGIC))] != "CIFS" {
		t.Error("network volumes are not known")
	}
}
