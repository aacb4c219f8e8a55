package bolt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/indextest"
)

// What a killed server leaves is read with what its log holds, and not a byte
// of it is changed.
func TestReadOnlyShowsWhatTheLogHolds(t *testing.T) {
	path := crashed(t, 20)
	before := filesBeside(t, path)
	m, err := OpenReadOnly(path, indextest.FS, sealer)
	if err != nil {
		t.Fatal(err)
	}
	recs, err := m.Scan(t.Context(), record1("0", 1).Key.Space, nil, nil, 100)
	if err != nil || len(recs) != 20 {
		t.Errorf("%d records, %v", len(recs), err)
	}
	if m.Head().Seq != 20 {
		t.Errorf("the head is at %d", m.Head().Seq)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for name, was := range before {
		if now := filesBeside(t, path)[name]; !bytes.Equal(now, was) {
			t.Errorf("%s was changed", name)
		}
	}
	holds(t, path, 20)
}

func filesBeside(t *testing.T, path string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(path + "*")
	all := map[string][]byte{}
	for _, name := range names {
		if all[name], err = os.ReadFile(name); err != nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestReadOnlyRefusesWhatIsInUseOrDamaged(t *testing.T) {
	path := filled(t)
	x, err := Open(path, indextest.FS, sealer, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenReadOnly(path, indextest.FS, sealer)
	wants(t, "in use", err, efs.ErrUnavailable)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = OpenReadOnly(path, efs.NewID(), sealer)
	wants(t, "another file system's", err, efs.ErrDamaged)
	_, err = OpenReadOnly(path, indextest.FS, indextest.Sealer("other"))
	wants(t, "other keys", err, efs.ErrDamaged)
	_, err = OpenReadOnly(path+".none", indextest.FS, sealer)
	wants(t, "none", err, efs.ErrNotFound)
	if err := os.Truncate(path, 20000); err != nil {
		t.Fatal(err)
	}
	_, err = OpenReadOnly(path, indextest.FS, sealer)
	wants(t, "cut", err, efs.ErrDamaged)
}

func wants(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}
