package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs/seal"
	"github.com/efs-project/efs/test/kit"
)

// The private half of the recovery recipient opens everything without the
// starter key and the local KMS, and forgotten units stay so.
func TestRecoveryKeyInPlaceOfTheKMS(t *testing.T) {
	v := &volume{Server: kit.New(t)}
	heir, err := seal.GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	text, err := heir.Text()
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "heir.txt")
	if err := os.WriteFile(key, []byte("# kept in the safe\n"+text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.Ctl("policy", kit.FS, "--set", "erasure_unit=/patients/*", "--set", "recovery_recipient="+heir.Public().String())
	v.store(t, map[string][]byte{"a": []byte("plain"), "patients/0815/x": kit.Pattern(1, 30<<10), "patients/0815/y": []byte("small"), "patients/4711/z": kit.Pattern(2, 30<<10)})
	v.Ctl("rotate", kit.FS)
	v.store(t, map[string][]byte{"later": kit.Pattern(3, 30<<10)})
	c := v.Client()
	if err := c.RemoveAll(t.Context(), "patients/4711"); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	v.Ctl("forget", kit.FS+":/patients/4711", "--yes")
	v.Stop()
	if err := os.RemoveAll(filepath.Join(v.Root, ".server", "sealed")); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"a": []byte("plain"), "patients/0815/x": kit.Pattern(1, 30<<10), "patients/0815/y": []byte("small"), "later": kit.Pattern(3, 30<<10)}
	out, _ := v.recovered(t, 0, "--recovery-key", key)
	same(t, "with the recovery key", contents(t, out), want)
	for name := range contents(t, out) {
		if strings.Contains(name, "4711") {
			t.Errorf("%s was forgotten", name)
		}
	}
	// Without keys.db the copies beside the file system do, but for units.
	if err := os.Remove(filepath.Join(v.Root, ".server", "keys.db")); err != nil {
		t.Fatal(err)
	}
	out, log := v.recovered(t, 1, "--recovery-key", key)
	delete(want, "patients/0815/x")
	delete(want, "patients/0815/y")
	same(t, "from recovery.sealed", contents(t, out), want)
	if !strings.Contains(log, "the key of its erasure unit is not in the key store") {
		t.Errorf("it says:\n%s", log)
	}
	_, log = v.recovered(t, 2, "--starter-key-file", v.KeyFile)
	if strings.Contains(log, text) {
		t.Error("a key is printed")
	}
}

// A copy of efsctl backup-keys does in place of keys.db, until it expires.
func TestBackupOfKeysInPlaceOfTheStore(t *testing.T) {
	v := filled(t)
	dir := t.TempDir()
	good, old := filepath.Join(dir, "good"), filepath.Join(dir, "old")
	v.Ctl("backup-keys", good)
	v.Ctl("backup-keys", old, "--expires", "1s")
	v.Stop()
	if err := os.Remove(filepath.Join(v.Root, ".server", "keys.db")); err != nil {
		t.Fatal(err)
	}
	out, _ := v.recovered(t, 0, "--starter-key-file", v.KeyFile, "--key-backup", good)
	same(t, "with a backup of keys", contents(t, out), v.files)
	nowhere := filepath.Join(dir, "nowhere")
	out, _ = v.recovered(t, 0, "--root", nowhere, "--files", filepath.Join(v.Root, kit.FS, "files"), "--from", "journal",
		"--starter-key-file", v.KeyFile, "--key-backup", good, "--tmp", dir)
	same(t, "without the server's directory", contents(t, out), v.files)
	if left, _ := filepath.Glob(filepath.Join(dir, "efs-recover-*")); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
	time.Sleep(1100 * time.Millisecond)
	_, log := v.recovered(t, 2, "--starter-key-file", v.KeyFile, "--key-backup", old)
	if !strings.Contains(log, "this backup expired") {
		t.Errorf("with one that has expired: %s", log)
	}
	out, log = v.recovered(t, 0, "--starter-key-file", v.KeyFile)
	same(t, "with aes.key and filename-salt", contents(t, out), v.files)
	if !strings.Contains(log, "the copies of keys in") {
		t.Errorf("it says:\n%s", log)
	}
}

// A backup, a backup of the keys and the starter key are enough: there is
// neither a root nor a server. Of a directory with several backups, the one that
// is named comes out.
func TestABackupWithoutARoot(t *testing.T) {
	v := filled(t)
	dir := t.TempDir()
	keys, backups := filepath.Join(dir, "keys"), filepath.Join(dir, "backups")
	v.Ctl("backup", kit.FS, backups)
	first, err := filepath.Glob(filepath.Join(backups, "index", "*.index"))
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	v.store(t, map[string][]byte{"later.bin": kit.Pattern(3, 100_000)})
	v.Ctl("backup", kit.FS, backups)
	v.Ctl("backup-keys", keys)
	v.Stop()
	args := []string{"--fs", kit.FS, "--key-backup", keys, "--starter-key-file", v.KeyFile, "--checkpoint", first[0],
		"--files", filepath.Join(backups, "contents"), "--tmp", dir}
	out, _ := recoverWith(t, 0, args...)
	same(t, "from the first backup", contents(t, out), v.files)
	_, log := recoverWith(t, -1, append(args, "--orphans")...)
	if !strings.Contains(log, "known by their contents alone") {
		t.Errorf("with --orphans it says:\n%s", log)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "efs-recover-*")); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
}

func TestWrongStarterKey(t *testing.T) {
	v := filled(t)
	v.Stop()
	wrong := filepath.Join(t.TempDir(), "wrong.key")
	if err := os.WriteFile(wrong, []byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, log := v.recovered(t, 2, "--starter-key-file", wrong)
	if !strings.Contains(log, "the starter key does not fit this root") {
		t.Errorf("it says: %s", log)
	}
}
