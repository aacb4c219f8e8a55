package keyring

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

func TestExportIsEnoughForRecovery(t *testing.T) {
	b := newBench(t, Options{})
	k, dir := b.create(t, "user-data", twoStages), t.TempDir()
	if err := k.Export(dir); err != nil {
		t.Fatal(err)
	}
	if err := k.CheckExport(dir); err != nil {
		t.Error(err)
	}
	for name, live := range map[string][]*liveKey{ExportKeys: k.set().newest().keys, ExportSalt: k.set().roots} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var doc exportDoc
		if err := json.Unmarshal(content, &doc); err != nil || len(doc.Keys) != 2 || doc.FS != k.FS() {
			t.Fatalf("%s: %+v, %v", name, doc, err)
		}
		for i, e := range doc.Keys {
			key, err := b.kms[e.Provider].Unwrap(t.Context(), e.Master, e.Wrapped,
				efs.Binding{Purpose: e.Purpose, FS: doc.FS, Stage: e.Stage, Epoch: e.Epoch, Key: e.ID})
			if err != nil {
				t.Fatalf("%s, key %d: %v", name, i, err)
			}
			if got, err := live[i].unwrap(t.Context(), live[i].record()); err != nil || string(got) != string(key) {
				t.Errorf("%s, key %d: another key came out (%v)", name, i, err)
			}
		}
	}
}

func TestReplacedExportsAreNoticed(t *testing.T) {
	b := newBench(t, Options{})
	k, other := b.create(t, "user-data", oneStage), b.create(t, "other", oneStage)
	for what, c := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"another file system's": {other.Export, "belongs to file system " + other.FS().String()},
		"missing":               {func(dir string) error { return os.Remove(filepath.Join(dir, ExportSalt)) }, ExportSalt + " is missing"},
		"garbage": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ExportKeys), []byte("garbage"), 0o600)
		}, ExportKeys + " is not what EFS wrote there"},
		"exchanged": {func(dir string) error {
			return os.Rename(filepath.Join(dir, ExportSalt), filepath.Join(dir, ExportKeys))
		}, ExportKeys + " is not what EFS wrote there"},
		"a directory": {func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, ExportKeys)), os.Mkdir(filepath.Join(dir, ExportKeys), 0o700))
		}, ExportKeys + " cannot be read"},
		"a changed character": {func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, ExportSalt))
			if err != nil {
				return err
			}
			changed := strings.Replace(string(b), `"stage": 0`, `"stage": 1`, 1)
			return os.WriteFile(filepath.Join(dir, ExportSalt), []byte(changed), 0o600)
		}, ExportSalt + " differs from the key store"},
	} {
		dir := t.TempDir()
		if err := errors.Join(k.Export(dir), c.damage(dir)); err != nil {
			t.Fatal(err)
		}
		err := k.CheckExport(dir)
		wantError(t, what, err, efs.ErrDamaged)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q does not say %q", what, err, c.want)
		}
		if what == "a directory" {
			continue
		}
		if err := errors.Join(k.Export(dir), k.CheckExport(dir)); err != nil {
			t.Errorf("%s: exporting again: %v", what, err)
		}
	}
}
