package salvage

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
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
