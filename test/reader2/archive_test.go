package reader2

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/seal"
)

const archives = "../../internal/archive/testdata/"

// TestArchivesOfEveryVersion: the examples give the same tar as in Go, and the
// list has every member.
func TestArchivesOfEveryVersion(t *testing.T) {
	key, err := os.ReadFile(archives + "private-key.txt")
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"-p", write(t, "p", []byte("correct horse\n")), "-i", archives + "private-key.txt"}
	files, err := filepath.Glob(archives + "*.aes")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		goes, tar := goOpen(t, &given{Sealed: b, Passphrase: "correct horse", Private: strings.TrimSpace(string(key))})
		if goes.Kind != "" {
			t.Fatalf("%s: %s", file, goes.Text)
		}
		if r := command(t, nil, append(keys, file)...); r.status != 0 || r.out != string(tar) {
			t.Errorf("%s: %d bytes, want %d, %s", file, len(r.out), len(tar), r.err)
		}
		checkList(t, b, command(t, nil, append(keys, "-t", file)...))
	}
}

// checkList compares the list of an archive with its members, as Go reads them.
func checkList(t *testing.T, b []byte, r ran) {
	t.Helper()
	if r.status != 0 {
		t.Errorf("exit status %d: %s", r.status, r.err)
		return
	}
	want, err := list(b)
	if err != nil {
		t.Fatal(err)
	}
	if r.out != want {
		t.Errorf("the list is\n%swant\n%s", r.out, want)
	}
}

func list(b []byte) (string, error) {
	text, err := os.ReadFile(archives + "private-key.txt")
	if err != nil {
		return "", err
	}
	pair, err := seal.ParseIdentity(string(text))
	if err != nil {
		return "", err
	}
	r, err := archive.OpenStream(bytes.NewReader(b), []seal.Identity{seal.PassphraseIdentity([]byte("correct horse"), seal.Argon2Limits{}), pair})
	if err != nil {
		return "", err
	}
	defer r.Close()
	var out strings.Builder
	for {
		m, err := r.Next()
		if err == io.EOF {
			return out.String(), nil
		}
		if err != nil {
			return "", err
		}
		if m.Removed {
			if err := r.EachRemoved(func(path string) error {
				fmt.Fprintf(&out, "%-43s %s\n", "removed", path)
				return nil
			}); err != nil {
				return "", err
			}
			continue
		}
		fmt.Fprintf(&out, "%s %12d %s %s\n", mode(m), m.Size, m.Modified.UTC().Format(time.DateTime), shown(m))
	}
}

func shown(m *archive.Member) string {
	switch m.Kind {
	case efs.KindDir:
		return m.Name + "/"
	case efs.KindSymlink:
		return m.Name + " -> " + m.Target
	}
	return m.Name
}

// mode is a member's permissions as ls shows them.
func mode(m *archive.Member) string {
	perm := m.Mode
	switch {
	case perm == 0 && m.Kind == efs.KindDir:
		perm = 0o755
	case perm == 0 && m.Kind == efs.KindSymlink:
		perm = 0o777
	case perm == 0:
		perm = 0o644
	}
	first := map[efs.Kind]string{efs.KindDir: "d", efs.KindSymlink: "l"}[m.Kind]
	if first == "" {
		first = "-"
	}
	return first + os.FileMode(perm).Perm().String()[1:]
}

// TestAFreshArchive is written now, with thousands of members and files longer
// than a frame, and without any.
func TestAFreshArchive(t *testing.T) {
	pass := write(t, "p", []byte("correct horse"))
	for name, n := range map[string]int{"many": 3000, "one": 1, "nothing": 0} {
		b := fresh(t, n)
		r := command(t, b, "-p", pass, "-t", "-")
		checkList(t, b, r)
		if !strings.Contains(r.err, map[bool]string{true: "nothing in this archive", false: "drive:/ after change 7"}[n == 0]) {
			t.Errorf("%s: it says %s", name, r.err)
		}
		b[len(b)-1] ^= 1
		if r := command(t, b, "-p", pass, "-t", "-"); r.status != 6 {
			t.Errorf("%s: its end is altered: exit status %d, %s", name, r.status, r.err)
		}
	}
}

func fresh(t testing.TB, members int) []byte {
	t.Helper()
	rcpt, err := seal.PassphraseRecipient([]byte("correct horse"), seal.Argon2Params{Time: 1, MemoryKiB: 64, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	sealer, err := archive.NewSealer(&out, rcpt)
	if err != nil {
		t.Fatal(err)
	}
	now := time.UnixMicro(1_800_000_000_123_456)
	w, err := archive.NewWriter(sealer, archive.Info{FS: "drive", FSID: "x", Path: "/", Sequence: 7, Created: now})
	if err != nil {
		t.Fatal(err)
	}
	for i := range members {
		data := text(i % 700)
		if i == 0 {
			data = text(3 << 20)
		}
		m := &archive.Member{Name: fmt.Sprintf("file %04d", i), Kind: efs.KindFile, Size: int64(len(data)), Mode: 0o640, Modified: now,
			Type: "text/plain", SHA256: fmt.Sprintf("%x", sha256.Sum256(data)), Version: 3}
		if err := w.Member(m); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sealer.Close(seal.Recovery{}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
