package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/salvage"
	"github.com/efs-project/efs/test/kit"
)

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
		{"bsdtar", "-xf", file, "-C"},
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
		case len(body) > 40<<10 && len(body) < 100<<10:
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
	out, log := v.recovered(t, 1, "--starter-key-file", v.KeyFile)
	same(t, "by trailers", contents(t, out), map[string][]byte{
		"recovered/docs/large.bin":            v.files["docs/large.bin"],
		"recovered/docs/parts.bin":            v.files["docs/parts.bin"],
		"recovered/docs/deep/er/and/deeper/x": v.files["docs/deep/er/and/deeper/x"],
	})
	if !strings.Contains(log, "only what the contents themselves tell") || !strings.Contains(log, "missing: changes 1 to 18: ") {
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

// An index that is lost, with all that lay in it alone, is made up for by the
// journal.
func TestJournalInPlaceOfTheIndex(t *testing.T) {
	v := filled(t)
	v.journaled(t)
	v.Stop()
	if err := removeIndex(v); err != nil {
		t.Fatal(err)
	}
	out, log := v.recovered(t, 0, "--starter-key-file", v.KeyFile)
	same(t, "by the journal", contents(t, out), v.files)
	headers(t, out)
	if !strings.Contains(log, "the journal goes up to change 18") {
		t.Errorf("it says:\n%s", log)
	}
}

// An index from the past, put back, is noticed by its anchor, and the journal
// is read in its place.
func TestOlderIndexIsNoticed(t *testing.T) {
	v := filled(t)
	v.Stop()
	index := filepath.Join(v.Root, kit.FS, "system")
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(index)); err != nil {
		t.Fatal(err)
	}
	v.Start()
	more := map[string][]byte{"later": []byte("stored after the copy")}
	v.store(t, more)
	v.journaled(t)
	v.Stop()
	if err := errors.Join(os.RemoveAll(index), os.CopyFS(index, os.DirFS(old))); err != nil {
		t.Fatal(err)
	}
	out, log := v.recovered(t, 0, "--starter-key-file", v.KeyFile)
	maps.Copy(more, v.files)
	same(t, "by the newer journal", contents(t, out), more)
	if !strings.Contains(log, "the index is older than its anchor") || !strings.Contains(log, "the journal goes up to") {
		t.Errorf("it says:\n%s", log)
	}
}

// While a server runs, its index is left alone, and its keys are read.
func TestBesideARunningServer(t *testing.T) {
	v := filled(t)
	before, _ := os.ReadFile(filepath.Join(v.Root, ".server", "root.json"))
	_, log := v.recovered(t, 1, "--starter-key-file", v.KeyFile, "--from", "contents")
	if !strings.Contains(log, "3 files") {
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

// A file that was replaced by an upload in parts after the journal's end: of the
// version that the journal knows nothing is left, but of the newer one all.
func TestAnUploadThatReplacedAFileComesOut(t *testing.T) {
	v := &volume{Server: kit.New(t)}
	v.store(t, map[string][]byte{"f": kit.Pattern(1, 40<<10)})
	v.journaled(t)
	journal, old := filepath.Join(v.Root, kit.FS, "files", "journal"), filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(journal)); err != nil {
		t.Fatal(err)
	}
	first := v.blobs(t)
	want := kit.Pattern(2, 2*partSize-5)
	c := v.Client()
	defer func() { _ = c.Close() }()
	if _, err := c.Upload(t.Context(), "f", bytes.NewReader(want), int64(len(want)), client.UploadOptions{PartSize: int64(partSize)}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); slices.ContainsFunc(v.blobs(t), func(b string) bool { return slices.Contains(first, b) }); {
		if time.Now().After(end) {
			t.Fatal("what was replaced is not deleted")
		}
		time.Sleep(20 * time.Millisecond)
	}
	v.Stop()
	if err := errors.Join(os.RemoveAll(journal), os.CopyFS(journal, os.DirFS(old)), removeIndex(v)); err != nil {
		t.Fatal(err)
	}
	out, _ := v.recovered(t, 1, "--starter-key-file", v.KeyFile)
	same(t, "by the contents", contents(t, out), map[string][]byte{"recovered/f": want})
}

// blobs are the names of the contents on the volume.
func (v *volume) blobs(t *testing.T) (names []string) {
	t.Helper()
	_ = filepath.WalkDir(filepath.Join(v.Root, kit.FS, "files"), func(path string, d os.DirEntry, err error) error {
		if err == nil && len(d.Name()) == len(efs.ID{}.String()) {
			names = append(names, d.Name())
		}
		return nil // moved on the way
	})
	return names
}

// A checkpoint that is damaged takes entries with it, of directories too: what
// lies in those comes out all the same.
func TestDirectoriesWithoutAnEntryComeOut(t *testing.T) {
	v := &volume{Server: kit.New(t)}
	c := v.Client()
	defer func() { _ = c.Close() }()
	meta := map[string]string{"long": strings.Repeat("x", 7000)} // so that there are several chunks of entries
	want := map[string]int{}
	for i := range 100 {
		dir, body := fmt.Sprintf("d%d", i), kit.Pattern(uint64(i+1), 20<<10)
		want[string(body)]++
		err := c.Mkdir(t.Context(), dir, client.MkdirOptions{Meta: meta})
		if err == nil {
			_, err = c.Put(t.Context(), dir+"/f", bytes.NewReader(body), client.PutOptions{Meta: meta})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	v.Stop()
	journal := filepath.Join(v.Root, kit.FS, "files", "journal")
	if err := os.RemoveAll(journal); err != nil {
		t.Fatal(err)
	}
	v.Start() // and makes a checkpoint
	var checkpoints []string
	for end := time.Now().Add(30 * time.Second); len(checkpoints) == 0; time.Sleep(20 * time.Millisecond) {
		if checkpoints, _ = filepath.Glob(filepath.Join(journal, "*.checkpoint")); time.Now().After(end) {
			t.Fatal("no checkpoint is made")
		}
	}
	v.Stop()
	b, err := os.ReadFile(checkpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := errors.Join(os.WriteFile(checkpoints[0], b, 0o600), removeIndex(v)); err != nil {
		t.Fatal(err)
	}
	out, log := v.recovered(t, 1, "--starter-key-file", v.KeyFile)
	got := map[string]int{}
	for _, body := range contents(t, out) {
		got[string(body)]++
	}
	if !maps.Equal(got, want) || !strings.Contains(log, "the checkpoint: bytes ") {
		t.Errorf("%d of %d files came out; it says:\n%s", len(got), len(want), log)
	}
}
