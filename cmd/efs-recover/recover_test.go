package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/salvage"
	"github.com/efs-project/efs/seal"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// volume is what a server leaves behind, and what was stored on it.
type volume struct {
	*kit.Server
	files map[string][]byte
}

var (
	longName  = strings.Repeat("a long name ", 20) + ".txt"
	storedAt  = time.Date(2021, 3, 4, 5, 6, 7, 891_000_000, time.UTC)
	keptMeta  = map[string]string{"patient": "Grüße", "empty": ""}
	largeSize = 3<<20 + 17
)

// filled starts a server and stores files of all kinds on it.
func filled(t *testing.T, args ...string) *volume {
	t.Helper()
	v := &volume{Server: kit.New(t, args...), files: map[string][]byte{
		"readme.txt":                {},
		"docs/small.txt":            []byte("small"),
		"docs/" + longName:          []byte("long"),
		"docs/über/ünïcødé 日本.txt":  []byte("unicode"),
		"docs/large.bin":            kit.Pattern(1, largeSize),
		"docs.txt":                  []byte("sorts between"),
		"docs/deep/er/and/deeper/x": kit.Pattern(2, 40<<10),
	}}
	v.store(t, v.files)
	c := v.Client()
	defer func() { _ = c.Close() }()
	ctx := t.Context()
	if _, err := c.Symlink(ctx, "docs/link", "../readme.txt", client.PutOptions{Modified: storedAt}); err != nil {
		t.Fatal(err)
	}
	if err := c.Mkdir(ctx, "empty", client.MkdirOptions{Mode: 0o750}); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *volume) store(t *testing.T, files map[string][]byte) {
	t.Helper()
	c := v.Client()
	defer func() { _ = c.Close() }()
	for name, body := range files {
		o := client.PutOptions{Mode: 0o640, Modified: storedAt, Type: "text/x-test", Meta: keptMeta}
		if _, err := c.Put(t.Context(), name, bytes.NewReader(body), o); err != nil {
			t.Fatal(err)
		}
	}
}

// recovered runs efs-recover on the volume; its exit code must be code.
func (v *volume) recovered(t *testing.T, code int, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	return recoverWith(t, code, append([]string{"--root", v.Root, "--fs", kit.FS}, args...)...)
}

func recoverWith(t *testing.T, code int, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), kit.Bin(t, "efs-recover"), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != code {
		t.Fatalf("efs-recover %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, errs.String())
	}
	return out.Bytes(), errs.String()
}

// contents returns the files of a tar by name, after checking that it is whole.
func contents(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			all[h.Name] = body
		case tar.TypeDir, tar.TypeSymlink, tar.TypeXGlobalHeader:
		default:
			t.Errorf("%s is of type %c", h.Name, h.Typeflag)
		}
	}
}

func same(t *testing.T, what string, got, want map[string][]byte) {
	t.Helper()
	for name, body := range want {
		if have, ok := got[name]; !ok {
			t.Errorf("%s: %s is missing", what, name)
		} else if !bytes.Equal(have, body) {
			t.Errorf("%s: %s has %d other bytes", what, name, len(have))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s is too much", what, name)
		}
	}
}

// snapshot is every byte below a directory, by name.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// below returns the files at name/, under what follows it, and prefix.
func below(all map[string][]byte, prefix string) map[string][]byte {
	some := map[string][]byte{}
	for name, body := range all {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			some[rest] = body
		}
	}
	return some
}

// A killed server leaves an index with a log: everything confirmed comes out,
// with its names, times, modes, links and metadata, and the volume stays as it
// is to the byte.
func TestWholeFileSystemFromTheVolumeOfAKilledServer(t *testing.T) {
	v := filled(t)
	v.Kill()
	before := snapshot(t, v.Root)
	out, log := v.recovered(t, 0, "--starter-key-file", v.KeyFile)
	same(t, "tar", contents(t, out), v.files)
	if !strings.Contains(log, "the index goes up to change") {
		t.Errorf("it says:\n%s", log)
	}
	headers(t, out)
	if after := snapshot(t, v.Root); !maps.Equal(before, after) {
		t.Error("the volume was changed")
	}
	part, _ := v.recovered(t, 0, "--starter-key-file", v.KeyFile, "--path", "/docs/über")
	same(t, "a directory", contents(t, part), below(v.files, "docs/über/"))
	part, _ = v.recovered(t, 0, "--starter-key-file", v.KeyFile, "--path", "docs/small.txt")
	same(t, "one file", contents(t, part), map[string][]byte{"small.txt": []byte("small")})
	_, log = v.recovered(t, 2, "--starter-key-file", v.KeyFile, "--path", "/none")
	if !strings.Contains(log, "/none") {
		t.Errorf("of a path that is not there it says: %s", log)
	}
}

// headers checks what the tar tells of members beside their contents.
func headers(t *testing.T, b []byte) {
	t.Helper()
	seen := map[string]bool{}
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		seen[h.Name] = true
		switch h.Name {
		case "docs/small.txt":
			if h.Mode != 0o640 || !h.ModTime.Equal(storedAt) || h.PAXRecords["SCHILY.xattr.user.mime_type"] != "text/x-test" ||
				h.PAXRecords["SCHILY.xattr.user.patient"] != "Grüße" || len(h.PAXRecords["SCHILY.xattr.user.efs.sha256"]) != 64 {
				t.Errorf("%+v", h)
			}
		case "docs/link":
			if h.Typeflag != tar.TypeSymlink || h.Linkname != "../readme.txt" {
				t.Errorf("%+v", h)
			}
		case "empty/":
			if h.Typeflag != tar.TypeDir || h.Mode != 0o750 {
				t.Errorf("%+v", h)
			}
		}
	}
	for _, name := range []string{"docs/small.txt", "docs/link", "empty/", "docs/" + longName} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

// GNU tar, bsdtar and Python read the tar, and make the same of it.
func TestOtherProgramsReadTheTar(t *testing.T) {
	v := filled(t)
	v.Stop()
	file := filepath.Join(t.TempDir(), "out.tar")
	v.recovered(t, 0, "--starter-key-file", v.KeyFile, "-o", file)
	for _, program := range [][]string{
		{"tar", "--warning=all", "-xf", file, "-C"},
		{"bsdtar", "--no-xattrs", "-xf", file, "-C"}, // Linux has no attributes of links
		{"python3", "-c", "import sys,tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter='tar')", file},
	} {
		if _, err := exec.LookPath(program[0]); err != nil {
			t.Fatalf("%s is missing: scripts/deps test", program[0])
		}
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), program[0], append(program[1:], dir)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", program[0], err, out)
			continue
		}
		checkTree(t, program[0], dir, v.files)
	}
	_, log := v.recovered(t, 2, "--starter-key-file", v.KeyFile, "-o", file)
	if !strings.Contains(log, "nothing is overwritten") {
		t.Errorf("over a file that is there: %s", log)
	}
}

// checkTree compares a directory with what was stored.
func checkTree(t *testing.T, what, dir string, files map[string][]byte) {
	t.Helper()
	got := map[string][]byte{}
	for path, body := range snapshot(t, dir) {
		name, _ := filepath.Rel(dir, path)
		got[filepath.ToSlash(name)] = []byte(body)
	}
	same(t, what, got, files)
	if info, err := os.Stat(filepath.Join(dir, "docs", "small.txt")); err != nil || info.Mode().Perm() != 0o640 || info.ModTime().UnixMicro() != storedAt.UnixMicro() {
		t.Errorf("%s: %v, %v", what, info, err)
	}
	if link, err := os.Readlink(filepath.Join(dir, "docs", "link")); err != nil || link != "../readme.txt" {
		t.Errorf("%s: the link is %q, %v", what, link, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "empty")); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("%s: the directory is %v, %v", what, info, err)
	}
}

func TestIntoADirectory(t *testing.T) {
	v := filled(t)
	v.Stop()
	dir := filepath.Join(t.TempDir(), "out")
	v.recovered(t, 0, "--starter-key-file", v.KeyFile, "-o", dir)
	checkTree(t, "directory", dir, v.files)
	_, log := v.recovered(t, 2, "--starter-key-file", v.KeyFile, "-o", dir)
	if !strings.Contains(log, "is not empty") {
		t.Errorf("into a directory that is not empty: %s", log)
	}
	list, _ := v.recovered(t, 0, "--starter-key-file", v.KeyFile, "-t")
	if !strings.Contains(string(list), "docs/link -> ../readme.txt") || !strings.Contains(string(list), "0640            5 ") {
		t.Errorf("the list is\n%s", list)
	}
}

// Damage costs what is damaged: it is listed, and the rest comes out.
func TestDamageIsListedAndTheRestComesOut(t *testing.T) {
	v := filled(t)
	v.Stop()
	var large, other string
	for path, body := range snapshot(t, filepath.Join(v.Root, kit.FS, "files")) {
		switch {
		case strings.Contains(path, "journal"):
		case len(body) > largeSize/2:
			large = path
		case len(body) > 40<<10:
			other = path
		}
	}
	b, err := os.ReadFile(large)
	if err != nil {
		t.Fatal(err)
	}
	b[1<<20] ^= 1
	if err := errors.Join(os.WriteFile(large, b, 0o600), os.Remove(other)); err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.json")
	out, log := v.recovered(t, 1, "--starter-key-file", v.KeyFile, "--report", report)
	got := contents(t, out)
	rest := got["docs/large.bin.efs-damaged"]
	delete(got, "docs/large.bin.efs-damaged")
	want := maps.Clone(v.files)
	delete(want, "docs/large.bin")
	delete(want, "docs/deep/er/and/deeper/x")
	same(t, "the rest", got, want)
	for _, line := range []string{
		"missing: docs/deep/er/and/deeper/x: its contents are missing",
		fmt.Sprintf("missing: docs/large.bin: bytes 983040-1048575 of %d are lost", largeSize),
		"2 are missing",
	} {
		if !strings.Contains(log, line) {
			t.Errorf("it does not say %q:\n%s", line, log)
		}
	}
	whole := slices.Clone(v.files["docs/large.bin"])
	clear(whole[983040:1048576])
	if !bytes.Equal(rest, whole) {
		t.Error("of the damaged file other bytes came out")
	}
	var r salvage.Report
	if b, err = os.ReadFile(report); err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil || len(r.Missing) != 2 || r.Whole || r.Files != int64(len(got))+1 {
		t.Errorf("the report is %+v, %v", r, err)
	}
}

// Without index and journal the contents tell their paths; small files, which
// lie in the index, are gone.
func TestContentsAloneTellTheirPaths(t *testing.T) {
	v := filled(t)
	v.Stop()
	if err := errors.Join(os.RemoveAll(filepath.Join(v.Root, kit.FS, "files", "journal")), removeIndex(v)); err != nil {
		t.Fatal(err)
	}
	out, log := v.recovered(t, 0, "--starter-key-file", v.KeyFile)
	same(t, "by trailers", contents(t, out), map[string][]byte{
		"recovered/docs/large.bin":            v.files["docs/large.bin"],
		"recovered/docs/deep/er/and/deeper/x": v.files["docs/deep/er/and/deeper/x"],
	})
	if !strings.Contains(log, "only what the contents themselves tell") || !strings.Contains(log, "are known to be missing") {
		t.Errorf("it says:\n%s", log)
	}
}

func removeIndex(v *volume) error {
	names, err := filepath.Glob(filepath.Join(v.Root, kit.FS, "system", "index.db*"))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// While a server runs, its index is left alone, and its keys are read.
func TestBesideARunningServer(t *testing.T) {
	v := filled(t)
	before, _ := os.ReadFile(filepath.Join(v.Root, ".server", "root.json"))
	_, log := v.recovered(t, 0, "--starter-key-file", v.KeyFile, "--from", "contents")
	if !strings.Contains(log, "2 files") {
		t.Errorf("it says:\n%s", log)
	}
	_, log = v.recovered(t, 2, "--starter-key-file", v.KeyFile, "--from", "index")
	if !strings.Contains(log, "a server has it open") {
		t.Errorf("it says:\n%s", log)
	}
	if after, _ := os.ReadFile(filepath.Join(v.Root, ".server", "root.json")); !bytes.Equal(before, after) {
		t.Error("the server's directory was changed")
	}
	v.store(t, map[string][]byte{"more": []byte("the server goes on")})
}

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
