package starter

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
)

// A rotation that was cut off past root.json is read as it lies, and nothing
// is written.
func TestReadOnlyBoxChangesNothing(t *testing.T) {
	r := rotateBox(t)
	dir := filepath.Join(t.TempDir(), ".server")
	copyDir(t, dir, r.after)
	for file := range map[string]bool{"one.sealed": true, "two.sealed": true} {
		if err := os.MkdirAll(filepath.Join(dir, nextDir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, sealedDir, file), filepath.Join(dir, nextDir, file)); err != nil {
			t.Fatal(err)
		}
		old, err := os.ReadFile(filepath.Join(r.before, sealedDir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, sealedDir, file), old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := files(t, dir)

	_, err := OpenBoxReadOnly(dir, again(t, r.oldKey))
	wantError(t, "the former key", err, efs.ErrWrongKey)
	b, err := OpenBoxReadOnly(dir, again(t, r.newKey))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	checkSecrets(t, "read only", b)
	wantError(t, "Put", b.Put("one", nil), efs.ErrRefused)
	wantError(t, "Replace", b.Replace("one", nil), efs.ErrRefused)
	wantError(t, "Delete", b.Delete("one"), efs.ErrRefused)
	wantError(t, "Rotate", b.Rotate(newKey(t), nil), efs.ErrRefused)
	if after := files(t, dir); len(after) != len(before) {
		t.Errorf("files %v, before %v", after, before)
	} else {
		for name, was := range before {
			if after[name] != was {
				t.Errorf("%s was changed", name)
			}
		}
	}
}

// files returns what lies below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
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
