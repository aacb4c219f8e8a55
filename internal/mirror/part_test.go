package mirror

import (
	"os"
	"path/filepath"
	"testing"
)

// Who may write where a download arrives does not lead it into another file.
func TestADownloadThatIsGoneOnWithFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "another"), "untouched")
	if err := os.Symlink("another", filepath.Join(dir, ".efs-part-x")); err != nil {
		t.Fatal(err)
	}
	l, err := openLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for range 2 { // the second goes on with the first
		f, err := l.openPart(".efs-part-x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("begun"); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, ".efs-part-x"))
		if err != nil || string(b) != "begun" {
			t.Errorf("%q, %v", b, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "another")); err != nil || string(b) != "untouched" {
		t.Errorf("%q, %v", b, err)
	}
}
