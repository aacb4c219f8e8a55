package upgrade

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/seal"
	"github.com/efs-project/efs/test/kit"
)

// olderRoot starts the previous release on a root of its own with two stages,
// erasure units, a second user and grants.
func olderRoot(t *testing.T) (s *kit.Server, old string) {
	t.Helper()
	old, err := buildPrevious(t.Context())
	if errors.Is(err, errNoHistory) {
		t.Skip(err) // TestARootOfThePreviousReleaseIsRead reads one that was kept
	}
	if err != nil {
		t.Fatal(err)
	}
	s = kit.NewOf(t, old)
	s.Ctl("policy", kit.FS, "--set", "stages=AES256:local/default,CHACHA20_POLY1305:local/default", "--set", "erasure_unit=/patients/*")
	reader(t, s, "reader")
	return s, old
}

// reader makes a user who may read what is under /plain.
func reader(t *testing.T, s *kit.Server, name string) {
	t.Helper()
	s.Ctl("create-user", name, "--fs", kit.FS, "--generate", "--out", filepath.Join(filepath.Dir(s.Out), name), "--no-grants")
	s.Ctl("grant", name, "read,list", "--on", kit.FS+":/plain")
}

// asReader logs in as one of those.
func asReader(t *testing.T, s *kit.Server, name string) *client.Client {
	t.Helper()
	out := s.Out
	s.Out = filepath.Join(filepath.Dir(out), name)
	defer func() { s.Out = out }()
	return s.Client()
}

// next stops the server and starts it with the binaries in dir.
func next(t *testing.T, s *kit.Server, dir string) *client.Client {
	t.Helper()
	s.Stop()
	s.Use(dir)
	s.Start()
	return s.Client()
}

func clean(t *testing.T, s *kit.Server) {
	t.Helper()
	if out := s.Ctl("fsck", kit.FS, "--deep"); !strings.Contains(out, "Clean.") {
		t.Errorf("fsck: %s", out)
	}
	s.Ctl("audit", "verify")
}

// A root of the previous release opens, is written, and goes back: everything
// that either has written reads in both, however often they take turns.
func TestForwardAndBack(t *testing.T) {
	s, old := olderRoot(t)
	tr, c := newTree(), s.Client()
	tr.store(t, c, "old", 1)
	tr.crowd(t, c, 0, crowd)
	tr.reads(t, c, crowd, false)
	s.Ctl("backup-keys", keyCopy(s)+".old", "--expires", "90d")

	c = next(t, s, "")
	tr.reads(t, c, crowd, true)
	tr.store(t, c, "new", 100)
	whatIsNew(t, s, c, tr)
	tr.crowd(t, c, crowd-100, crowd+300)
	tr.put(t, c, "/plain/old-100", []byte("replaced by the new one"), client.PutOptions{})
	tr.move(t, c, "/patients/1/old-307200", "/plain/moved")
	tr.remove(t, c, "/plain/old-0")
	reader(t, s, "reader2")
	tr.reads(t, c, crowd+300, true)
	clean(t, s)

	c = next(t, s, old)
	tr.reads(t, c, crowd+300, false)
	for _, name := range []string{"reader", "reader2"} {
		rc := asReader(t, s, name)
		if got, err := rc.ReadFile(t.Context(), "/plain/moved"); err != nil || !bytes.Equal(got, tr.files["/plain/moved"]) {
			t.Errorf("%s reads %d bytes, %v", name, len(got), err)
		}
		if _, err := rc.ReadFile(t.Context(), "/patients/1/new-100"); !errors.Is(err, client.ErrNotFound) && !errors.Is(err, client.ErrDenied) {
			t.Errorf("%s reads what nobody granted: %v", name, err)
		}
	}
	// A copy of the key store is read by its own release and later ones; one
	// that is no use here is said to be none, and changes nothing.
	if out, err := s.TryCtl("restore-keys", keyCopy(s)+".new"); err == nil || !strings.Contains(out, "no backup of keys") {
		t.Errorf("a copy of the key store that the new one made: %v\n%s", err, out)
	}
	s.Ctl("restore-keys", keyCopy(s)+".old")
	tr.store(t, c, "back", 200)
	tr.put(t, c, "/plain/new-100", []byte("replaced by the old one"), client.PutOptions{})
	tr.move(t, c, "/plain/new-307200", "/patients/back/moved")
	tr.crowd(t, c, crowd+200, crowd+400)
	if err := c.Move(t.Context(), "/plain/link", "/plain/renamed", client.MoveOptions{}); err != nil {
		t.Error(err)
	}
	tr.links["/plain/renamed"] = tr.links["/plain/link"]
	delete(tr.links, "/plain/link")
	// The parts of the upload under way are nobody's here, but they are counted,
	// which fsck tells unless something was committed while it counted.
	out, err := s.TryCtl("fsck", kit.FS, "--deep")
	if counted := strings.Count(out, "usage: "); err == nil || strings.Count(out, "content-orphan") != 2 || counted > 1 || !strings.Contains(out, fmt.Sprintf("\n%d problems.", 2+counted)) {
		t.Errorf("fsck: %v\n%s", err, out)
	}
	s.Ctl("audit", "verify")

	c = next(t, s, "")
	tr.reads(t, c, crowd+400, true)
	clean(t, s)
	whole := make([]byte, 12<<20)
	o := client.UploadOptions{PartSize: 5 << 20, Resume: tr.half}
	if _, err := c.Upload(t.Context(), "/plain/half", bytes.NewReader(whole), int64(len(whole)), o); err != nil {
		t.Fatal(err)
	}
	tr.files["/plain/half"] = whole
	tr.reads(t, c, crowd+400, true)
	clean(t, s)
	s.Stop()
	inJournal(t, s, tr)
}

// inJournal demands that the journal alone knows every file, those that the
// older release stored without writing one included.
func inJournal(t *testing.T, s *kit.Server, tr *tree) {
	t.Helper()
	out, err := exec.Command(kit.Bin(t, "efs-recover"), "--root", s.Root, "--fs", kit.FS, "--starter-key-file", s.KeyFile, "--from", "journal", "-t", "-q").Output()
	if err != nil {
		t.Errorf("efs-recover: %v", err)
	}
	for path := range tr.files {
		if !strings.Contains(string(out), path[1:]+"\n") {
			t.Errorf("the journal does not know %s", path)
		}
	}
}

// whatIsNew stores what the previous release could not.
func whatIsNew(t *testing.T, s *kit.Server, c *client.Client, tr *tree) {
	t.Helper()
	ctx := t.Context()
	tr.put(t, c, "/plain/mode", []byte("of a mode"), client.PutOptions{Mode: 0o4751})
	tr.modes["/plain/mode"] = 0o4751
	if err := c.Mkdir(ctx, "/plain/dir", client.MkdirOptions{Mode: 0o2750, Meta: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	tr.modes["/plain/dir"] = 0o2750
	for path, target := range map[string]string{"/plain/link": "new-100", "/plain/dangling": "../nowhere"} {
		if _, err := c.Symlink(ctx, path, target, client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		tr.links[path] = target
	}
	parts := kit.Pattern(77, 11<<20+5)
	for _, path := range []string{"/plain/parts", "/patients/1/parts"} {
		if _, err := c.Upload(ctx, path, bytes.NewReader(parts), int64(len(parts)), client.UploadOptions{PartSize: 5 << 20}); err != nil {
			t.Fatal(err)
		}
		tr.files[path] = parts
	}
	o := client.UploadOptions{PartSize: 5 << 20, Started: func(id string) { tr.half = id }}
	if _, err := c.Upload(ctx, "/plain/half", halfRead{}, 12<<20, o); err == nil || tr.half == "" {
		t.Fatalf("an upload that breaks off: %q, %v", tr.half, err)
	}
	s.Ctl("backup", kit.FS, filepath.Join(filepath.Dir(s.Root), "backup"))
	s.Ctl("backup-keys", keyCopy(s)+".new", "--expires", "90d")
	s.Ctl("restore-keys", keyCopy(s)+".new")
	s.Ctl("restore-keys", keyCopy(s)+".old")
}

// keyCopy is where copies of the key store are made.
func keyCopy(s *kit.Server) string { return filepath.Join(filepath.Dir(s.Root), "keys.efs") }

// halfRead is a file that cannot be read to its end.
type halfRead struct{}

func (halfRead) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > 10<<20 {
		return 0, errors.New("it cannot be read")
	}
	return len(p), nil
}

// A kill is not a stop: the index's log is then read by the other release.
func TestBackAfterACrash(t *testing.T) {
	s, old := olderRoot(t)
	tr := newTree()
	tr.store(t, s.Client(), "old", 1)
	for i, dir := range []string{"", old, ""} {
		s.Kill()
		s.Use(dir)
		s.Start()
		c := s.Client()
		tr.reads(t, c, 0, false)
		tr.store(t, c, []string{"a", "b", "c"}[i], uint64(100*i))
	}
	tr.reads(t, s.Client(), 0, true)
	clean(t, s)
}

// A recovery recipient binds a root to this release: the previous one would
// make epochs that are not sealed to it. It says so and changes nothing.
func TestARecoveryRecipientBindsARoot(t *testing.T) {
	s, old := olderRoot(t)
	tr := newTree()
	tr.store(t, s.Client(), "old", 1)
	c := next(t, s, "")
	key, err := seal.GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	s.Ctl("policy", kit.FS, "--set", "recovery_recipient="+key.Public().String())
	tr.store(t, c, "new", 100)
	s.Stop()
	s.Use(old)
	if err := s.TryStart(); err == nil {
		t.Error("the previous release opens it")
		s.Stop()
	} else if log := s.Log(); !strings.Contains(log, "written by a newer EFS, start that one") {
		t.Errorf("the previous release does not say why: %v\n%s", err, log)
	}
	s.Use("")
	s.Start()
	tr.reads(t, s.Client(), 0, true)
	clean(t, s)
	// Taking it away does not take back what was written of it.
	s.Ctl("policy", kit.FS, "--set", "recovery_recipient=none")
	s.Stop()
	s.Use(old)
	if err := s.TryStart(); err == nil {
		t.Error("the previous release opens it, once the recipient is gone")
		s.Stop()
	}
}

// The root that was kept is read wherever the sources are, and the present
// release stores beside it.
func TestARootOfThePreviousReleaseIsRead(t *testing.T) {
	if _, err := os.Stat(kept); err != nil {
		t.Fatal(err)
	}
	s, tr := keptRoot(t)
	c := s.Client()
	tr.reads(t, c, 0, true)
	tr.store(t, c, "new", 100)
	tr.reads(t, c, 0, true)
	clean(t, s)
}
