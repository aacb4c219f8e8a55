package salvage

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"golang.org/x/sys/unix"
)

// A file that breaks off, as at the damage of an archive, leaves nothing under
// its name; and nothing is written through a link that leads away.
func TestADirectoryHoldsWholeFilesAlone(t *testing.T) {
	outside := t.TempDir()
	s := &DirSink{Path: filepath.Join(t.TempDir(), "out")}
	if err := s.Begin(archive.Info{}); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken off")
	err := s.Member(&archive.Member{Name: "a", Kind: efs.KindFile, Size: 9}, func(w io.Writer) error {
		_, _ = io.WriteString(w, "part")
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("told of %v", err)
	}
	if _, err := os.Lstat(filepath.Join(s.Path, "a")); !os.IsNotExist(err) {
		t.Errorf("a part stands under the name of the whole: %v", err)
	}
	var one *MemberError
	if err := s.Member(&archive.Member{Name: "away", Kind: efs.KindSymlink, Target: outside}, nil); err != nil {
		t.Fatal(err)
	}
	for _, m := range []archive.Member{{Name: "away/f", Kind: efs.KindFile}, {Name: "away/d", Kind: efs.KindDir}, {Name: "away/l", Kind: efs.KindSymlink, Target: "x"}} {
		if err := s.Member(&m, nil); !errors.As(err, &one) {
			t.Errorf("%s through a link: %v", m.Name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if all, err := os.ReadDir(outside); err != nil || len(all) != 0 {
		t.Errorf("written outside: %v, %v", all, err)
	}
}

// What a file has besides its contents comes out with it; what has another's
// name does not take its place.
func TestADirectoryKeepsWhatATarKeeps(t *testing.T) {
	s := &DirSink{Path: filepath.Join(t.TempDir(), "out")}
	if err := s.Begin(archive.Info{}); err != nil {
		t.Fatal(err)
	}
	when := time.Date(2020, 2, 3, 4, 5, 6, 789000, time.UTC)
	said := func(text string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	}
	m := &archive.Member{Name: "a", Kind: efs.KindFile, Size: 3, Mode: 0o640, Modified: when, Type: "text/plain", Meta: map[string]string{"who": "me"}}
	if err := s.Member(m, said("one")); err != nil {
		t.Fatal(err)
	}
	var one *MemberError
	if err := s.Member(m, said("two")); !errors.As(err, &one) {
		t.Errorf("the same name again: %v", err)
	}
	other := *m
	other.Name, other.SHA256 = "b", strings.Repeat("00", 32)
	if err := s.Member(&other, said("one")); !errors.As(err, &one) || !errors.Is(err, archive.ErrDamaged) {
		t.Errorf("contents of another digest: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Lstat(filepath.Join(s.Path, "a"))
	if err != nil || fi.Mode() != 0o640 || !fi.ModTime().Equal(when) {
		t.Errorf("%v %v %v", fi.Mode(), fi.ModTime(), err)
	}
	if b, err := os.ReadFile(filepath.Join(s.Path, "a")); err != nil || string(b) != "one" {
		t.Errorf("%q %v", b, err)
	}
	if all, err := os.ReadDir(s.Path); err != nil || len(all) != 1 {
		t.Errorf("%v %v", all, err)
	}
	if bare, unset, why := s.Bare(); unset != 0 || why != nil {
		t.Errorf("%d are not set: %v", unset, why)
	} else if bare > 0 {
		t.Log("no extended attributes here")
		return
	}
	for name, want := range map[string]string{"user.mime_type": "text/plain", "user.who": "me"} {
		var b [64]byte
		if n, err := unix.Getxattr(filepath.Join(s.Path, "a"), name, b[:]); err != nil || string(b[:n]) != want {
			t.Errorf("%s: %q %v", name, b[:max(n, 0)], err)
		}
	}
}
