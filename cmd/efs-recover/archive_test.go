package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/seal"
	"github.com/efs-project/efs/test/kit"
)

// archived writes an archive of files in the order of their names, sealed to
// whoever, as efs tar does.
func archived(t *testing.T, files map[string][]byte, to ...seal.Recipient) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "drive.efs.tar.gz.aes")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := archive.NewSealer(f, to...)
	if err != nil {
		t.Fatal(err)
	}
	w, err := archive.NewWriter(sealed, archive.Info{FS: "drive", FSID: efs.NewID().String(), Path: "/", Sequence: 7, Created: storedAt})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256(files[name])
		m := &archive.Member{Name: name, Kind: efs.KindFile, Size: int64(len(files[name])), Mode: 0o640, Modified: storedAt,
			Type: "text/x-test", Meta: keptMeta, SHA256: hex.EncodeToString(sum[:]), Version: 1}
		if err := w.Member(m); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	link := &archive.Member{Name: "zlink", Kind: efs.KindSymlink, Target: "a", Modified: storedAt}
	if err := errors.Join(w.Member(link), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := sealed.Close(seal.Recovery{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

const archivePass = "correct horse battery staple"

// byPassphrase is a passphrase as a recipient, and a file that holds it.
func byPassphrase(t *testing.T) (seal.Recipient, string) {
	t.Helper()
	r, err := seal.PassphraseRecipient([]byte(archivePass), seal.Argon2Params{Time: 1, MemoryKiB: 64, Threads: 1})
	file := filepath.Join(t.TempDir(), "password.txt")
	if err == nil {
		err = os.WriteFile(file, []byte(archivePass+"\nanother line\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, file
}

var archiveFiles = map[string][]byte{
	"a": []byte("first"), "b-large": kit.Pattern(5, 5<<20), "c": {}, "ünïcødé": []byte("unicode"), "y": []byte("last"),
}

func TestArchiveByPassphrase(t *testing.T) {
	r, pass := byPassphrase(t)
	path := archived(t, archiveFiles, r)
	out, _ := recoverWith(t, 0, "-p", pass, path)
	same(t, "tar", contents(t, out), archiveFiles)
	h, err := tar.NewReader(bytes.NewReader(out)).Next()
	if err != nil || h.Typeflag != tar.TypeXGlobalHeader || !strings.Contains(h.PAXRecords["comment"], `"efs_archive":1`) {
		t.Errorf("the tar begins with %+v, %v", h, err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	recoverWith(t, 0, "-p", pass, "-o", dir, path)
	for name, body := range archiveFiles {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	list, _ := recoverWith(t, 0, "-p", pass, "-t", path)
	if lines := strings.Split(strings.TrimSpace(string(list)), "\n"); len(lines) != 6 || !strings.Contains(lines[5], "zlink -> a") {
		t.Errorf("the list is\n%s", list)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.txt")
	if err := os.WriteFile(wrong, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, log := recoverWith(t, 2, "-p", wrong, path)
	if !strings.Contains(log, "the passphrase is wrong") {
		t.Errorf("it says: %s", log)
	}
}

func TestArchiveByPrivateKey(t *testing.T) {
	k, err := seal.GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	text, err := k.Text()
	file := filepath.Join(t.TempDir(), "key.txt")
	if err == nil {
		err = os.WriteFile(file, []byte(text+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	path := archived(t, archiveFiles, k.Public())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), kit.Bin(t, "efs-recover"), "-i", file, "-")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "from standard input", contents(t, out), archiveFiles)
}

// Damage ends the reading, with nothing left behind under the name; with
// --keep-going everything else comes out, and it says exactly what is lost.
func TestDamagedArchive(t *testing.T) {
	r, pass := byPassphrase(t)
	path := archived(t, archiveFiles, r)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "out.tar")
	_, log := recoverWith(t, 2, "-p", pass, "-o", target, path)
	if !strings.Contains(log, "--keep-going gives what is left") {
		t.Errorf("it says: %s", log)
	}
	if left, _ := filepath.Glob(target + "*"); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
	report := filepath.Join(t.TempDir(), "report.json")
	out, log := recoverWith(t, 1, "-p", pass, "--keep-going", "--report", report, path)
	got := contents(t, out)
	rest := got["b-large"+archive.DamagedSuffix]
	delete(got, "b-large"+archive.DamagedSuffix)
	want := maps.Clone(archiveFiles)
	delete(want, "b-large")
	same(t, "what is left", got, want)
	var rep archiveReport
	if b, err = os.ReadFile(report); err == nil {
		err = json.Unmarshal(b, &rep)
	}
	if err != nil || rep.Whole || len(rep.Lost) != 1 || rep.Lost[0].Member != "b-large" || len(rep.Lost[0].Ranges) != 1 {
		t.Fatalf("the report is %+v, %v", rep, err)
	}
	lost := rep.Lost[0].Ranges[0]
	zeroed := slices.Clone(archiveFiles["b-large"])
	clear(zeroed[lost.From:lost.To])
	if !bytes.Equal(rest, zeroed) || lost.To-lost.From > 2<<20 {
		t.Errorf("other bytes came out than lost %+v tells", lost)
	}
	if !strings.Contains(log, fmt.Sprintf("lost: b-large: bytes %d-%d of", lost.From, lost.To-1)) {
		t.Errorf("it says: %s", log)
	}
}

func TestCutArchive(t *testing.T) {
	r, pass := byPassphrase(t)
	path := archived(t, archiveFiles, r)
	if err := os.Truncate(path, 2<<20); err != nil {
		t.Fatal(err)
	}
	_, log := recoverWith(t, 2, "-p", pass, path)
	if !strings.Contains(log, "--keep-going") {
		t.Errorf("it says: %s", log)
	}
	out, log := recoverWith(t, 1, "-p", pass, "--keep-going", path)
	got := contents(t, out)
	if !bytes.Equal(got["a"], archiveFiles["a"]) || len(got) != 2 {
		t.Errorf("%d members came out; it says %s", len(got), log)
	}
}

// Something else than an archive is refused in words, and so is a call that
// cannot be meant.
func TestWhatIsNoArchive(t *testing.T) {
	_, pass := byPassphrase(t)
	for what, args := range map[string][]string{
		"malformed sealed file":  {"-p", pass, pass},
		"no such file":           {"-p", pass, pass + ".none"},
		"say what to recover":    {"-q"},
		"either an archive or":   {"--root", "/none", "archive"},
		"is for archives":        {"--root", "/none", "--fs", "drive", "-p", pass},
		"--path is for volumes":  {"-p", pass, "--path", "/x", pass},
		"name the file system":   {"--root", "/none"},
		"is not initialised":     {"--root", t.TempDir(), "--fs", "drive", "--passphrase-file", pass},
		"leave -o out":           {"-t", "-o", "x", "-p", pass, "x"},
		"--keep-going takes a f": {"--keep-going", "-p", pass, "-"},
	} {
		if _, log := recoverWith(t, 2, args...); !strings.Contains(log, what) {
			t.Errorf("efs-recover %q says: %s", args, log)
		}
	}
}
