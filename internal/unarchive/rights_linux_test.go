package unarchive

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/efs-project/efs"
)

// A directory that cannot be finished is no reason to leave out what follows it.
func TestWhatFollowsADirectoryThatCannotBeFinished(t *testing.T) {
	d, dir := newDir(t, false)
	must(t, d.Put(member("a", efs.KindDir), nil))
	put(t, d, "a/x", "x")
	must(t, os.RemoveAll(filepath.Join(dir, "a"))) // by somebody else
	must(t, d.Put(member("b", efs.KindDir), nil))
	put(t, d, "b/y", "y")
	must(t, d.Close())
	if contents(t, filepath.Join(dir, "b/y")) != "y" {
		t.Error("not there")
	}
	if n, why := d.Unset(); n != 1 || why == nil {
		t.Errorf("told of %d: %v", n, why)
	}
}

// What an archive has below a link that was there is not written through it,
// directories neither.
func TestDirectoriesAreNotMadeThroughALink(t *testing.T) {
	d, dir := newDir(t, false)
	must(t, os.Mkdir(filepath.Join(dir, "other"), 0o755))
	must(t, os.Symlink("other", filepath.Join(dir, "link")))
	if d.Put(member("link/sub", efs.KindDir), nil) == nil {
		t.Error("a directory was made through a link")
	}
	must(t, d.Close())
	if all, err := os.ReadDir(filepath.Join(dir, "other")); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}

// An incremental archive goes over directories that the one before it made
// read-only, for those too who are not root.
func TestReadOnlyDirectoriesAreGoneOver(t *testing.T) {
	if os.Geteuid() == 0 {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestReadOnlyDirectoriesAreGoneOver$")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("as somebody else: %v\n%s", err, out)
		}
		return
	}
	d, dir := newDir(t, false)
	for _, name := range []string{"kept", "plain", "gone", "gone/below"} {
		m := member(name, efs.KindDir)
		m.Mode = 0o555
		must(t, d.Put(m, nil))
		put(t, d, name+"/old", "old")
	}
	must(t, d.Close())

	d, err := New(dir, false)
	must(t, err)
	must(t, d.Remove("gone"))
	must(t, d.Remove("kept/old"))
	m := member("kept", efs.KindDir)
	m.Mode = 0o555
	must(t, d.Put(m, nil))
	put(t, d, "kept/new", "new")
	must(t, d.Put(member("plain", efs.KindDir), nil)) // tells no mode
	put(t, d, "plain/new", "new")
	must(t, d.Close())
	if n, why := d.Unset(); n != 0 {
		t.Error(n, why)
	}
	for name, want := range map[string]string{"kept": "new", "plain": "new old"} {
		at := filepath.Join(dir, name)
		fi, err := os.Lstat(at)
		must(t, err)
		if fi.Mode().Perm() != 0o555 || !fi.ModTime().Equal(when) {
			t.Errorf("%s: %v %v", name, fi.Mode(), fi.ModTime())
		}
		all, err := os.ReadDir(at)
		must(t, err)
		have := ""
		for _, e := range all {
			have += " " + e.Name()
		}
		if have != " "+want {
			t.Errorf("%s has%s", name, have)
		}
		must(t, os.Chmod(at, 0o755)) // so that it can be removed
	}
	if _, err := os.Lstat(filepath.Join(dir, "gone")); !os.IsNotExist(err) {
		t.Error("it is still there", err)
	}
}
