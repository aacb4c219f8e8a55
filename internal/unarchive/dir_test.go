package unarchive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
)

var when = time.Date(2020, 2, 3, 4, 5, 6, 789000, time.UTC)

func member(name string, k efs.Kind) *archive.Member {
	return &archive.Member{Name: name, Kind: k, Modified: when}
}

func text(name, data string) (*archive.Member, *strings.Reader) {
	m := member(name, efs.KindFile)
	sum := sha256.Sum256([]byte(data))
	m.Size, m.SHA256, m.Type = int64(len(data)), hex.EncodeToString(sum[:]), "text/plain"
	return m, strings.NewReader(data)
}

func link(name, target string) *archive.Member {
	m := member(name, efs.KindSymlink)
	m.Target = target
	return m
}

func newDir(t *testing.T, noClobber bool) (*Dir, string) {
	t.Helper()
	dir := t.TempDir()
	d, err := New(dir, noClobber)
	must(t, err)
	return d, dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, d *Dir, name, data string) {
	t.Helper()
	m, r := text(name, data)
	must(t, d.Put(m, r))
}

func contents(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	return string(b)
}

func TestATreeComesToBeAsItWas(t *testing.T) {
	d, dir := newDir(t, false)
	sub := member("sub", efs.KindDir)
	sub.Mode = 0o750
	must(t, d.Put(sub, nil))
	secret, r := text("sub/secret", "s")
	secret.Mode = 0o4400
	must(t, d.Put(secret, r))
	must(t, d.Put(member("sub/empty", efs.KindDir), nil))
	must(t, d.Put(link("sub/up", "../../anywhere"), nil))
	put(t, d, "z", "last")
	must(t, d.Close())
	for name, want := range map[string]string{"sub": "drwxr-x---", "sub/secret": "-r--------", "sub/up": "Lrwxrwxrwx", "z": "-rw-r--r--"} {
		fi, err := os.Lstat(filepath.Join(dir, name))
		must(t, err)
		if fi.Mode().String() != want || !fi.ModTime().Equal(when) {
			t.Errorf("%s: %v %v", name, fi.Mode(), fi.ModTime())
		}
	}
	if to, err := os.Readlink(filepath.Join(dir, "sub/up")); err != nil || to != "../../anywhere" {
		t.Error(to, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", ".efs-part-*"))
	if err != nil || len(left) != 0 {
		t.Error("left behind:", left)
	}
}

// TestNothingIsWrittenOutside puts links where directories are to be.
func TestNothingIsWrittenOutside(t *testing.T) {
	d, dir := newDir(t, false)
	outside := t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(dir, "trap")))
	must(t, os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, "name")))
	must(t, d.Put(link("own", outside), nil))
	if m, r := text("own/x", "x"); d.Put(m, r) == nil {
		t.Error("a link of the archive was followed")
	}
	if m, r := text("trap/x", "x"); d.Put(m, r) == nil {
		t.Error("a link that was there was followed")
	}
	must(t, d.Put(member("trap", efs.KindDir), nil))
	put(t, d, "trap/x", "x")
	put(t, d, "name", "contents")
	for _, name := range []string{"../x", "/x", "a/../../x"} {
		if m, r := text(name, "x"); d.Put(m, r) == nil {
			t.Errorf("%s was written", name)
		}
	}
	must(t, d.Remove("trap"))
	must(t, d.Close())
	if all, err := os.ReadDir(outside); err != nil || len(all) != 0 {
		t.Fatal("outside:", all, err)
	}
	if contents(t, filepath.Join(dir, "name")) != "contents" {
		t.Error("the link was not replaced")
	}
}

func TestWhatIsThereIsReplacedOrKept(t *testing.T) {
	d, dir := newDir(t, false)
	must(t, os.WriteFile(filepath.Join(dir, "a"), []byte("old"), 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "full"), 0o755))
	put(t, d, "a", "new")
	if m, r := text("full", "x"); d.Put(m, r) == nil {
		t.Error("a directory was replaced by a file")
	}
	must(t, d.Close())
	if contents(t, filepath.Join(dir, "a")) != "new" {
		t.Error("not replaced")
	}
	d, err := New(dir, true)
	must(t, err)
	if m, r := text("a", "newer"); !errors.Is(d.Put(m, r), ErrKept) {
		t.Error("not kept")
	}
	put(t, d, "b", "b")
	must(t, d.Close())
	if contents(t, filepath.Join(dir, "a")) != "new" {
		t.Error("replaced")
	}
}

func TestDamagedContentsGetNoName(t *testing.T) {
	d, dir := newDir(t, false)
	put(t, d, "a", "old")
	m, _ := text("a", "new")
	if err := d.Put(m, strings.NewReader("nix")); !errors.Is(err, archive.ErrDamaged) {
		t.Error(err)
	}
	if err := d.Put(m, strings.NewReader("n")); !errors.Is(err, archive.ErrDamaged) {
		t.Error(err)
	}
	lost, r := text("a", "new")
	lost.Lost = []archive.Range{{From: 0, To: 1}}
	must(t, d.Put(lost, r))
	must(t, d.Close())
	if contents(t, filepath.Join(dir, "a")) != "old" || contents(t, filepath.Join(dir, "a"+archive.DamagedSuffix)) != "new" {
		t.Error("a damaged file has its name")
	}
}

func TestWhatIsRemovedIsGone(t *testing.T) {
	d, dir := newDir(t, false)
	put(t, d, "a/b", "x")
	put(t, d, "c", "x")
	must(t, d.Remove("a"))
	must(t, d.Remove("nothing"))
	put(t, d, "d", "x")
	if all, err := os.ReadDir(dir); err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	must(t, d.Remove("."))
	must(t, d.Close())
	if all, err := os.ReadDir(dir); err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
}

// What lies behind a link is something else, even within the directory.
func TestNothingIsRemovedThroughALink(t *testing.T) {
	d, dir := newDir(t, false)
	put(t, d, "real/victim", "x")
	must(t, os.Symlink("real", filepath.Join(dir, "link")))
	must(t, d.Remove("link/victim"))
	if contents(t, filepath.Join(dir, "real", "victim")) != "x" {
		t.Error("it was removed through a link")
	}
	must(t, d.Remove("link"))
	must(t, d.Close())
	if _, err := os.Lstat(filepath.Join(dir, "link")); !os.IsNotExist(err) {
		t.Error("the link itself is still there", err)
	}
}

// Where capitals and small letters are the same, one of two files is told of
// as not restored; it does not replace the other.
func TestNamesThatAreOneToTheFileSystem(t *testing.T) {
	d, dir := newDir(t, false)
	here := d.folded != nil
	d.folded = newFolded()
	put(t, d, "README", "first")
	must(t, d.Put(member("Sub", efs.KindDir), nil))
	put(t, d, "Sub/a", "a")
	if m, r := text("readme", "second"); d.Put(m, r) == nil {
		t.Error("it replaced another")
	}
	if d.Put(member("sub", efs.KindDir), nil) == nil {
		t.Error("two directories became one, and nobody was told")
	}
	put(t, d, "sub/b", "b")
	if m, r := text("sub/A", "second"); d.Put(m, r) == nil {
		t.Error("it replaced another")
	}
	must(t, d.Close())
	if contents(t, filepath.Join(dir, "README")) != "first" || contents(t, filepath.Join(dir, "sub/b")) != "b" {
		t.Error("not as it was")
	}
	d, err := New(dir, false)
	must(t, err)
	if left, err := filepath.Glob(filepath.Join(dir, ".efs-part-*")); err != nil || len(left) != 0 || here != (d.folded != nil) {
		t.Error(left, err)
	}
	if !here {
		put(t, d, "readme", "second")
		put(t, d, "Readme", "third")
	}
	must(t, d.Close())
}

// A path may be longer than systems take in one piece.
func TestPathsLongerThanTheSystemTakes(t *testing.T) {
	d, dir := newDir(t, false)
	name := strings.Repeat(strings.Repeat("d", 250)+"/", 20)
	put(t, d, name+"file", "deep")
	must(t, d.Put(link(name+"link", "file"), nil))
	must(t, d.Close())
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	if b, err := root.ReadFile(name + "link"); err != nil || string(b) != "deep" {
		t.Errorf("%q %v", b, err)
	}
	must(t, root.RemoveAll(strings.Repeat("d", 250)))
}
