package node

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
)

// A restore that was cut off takes away what it made, and nothing that came to
// lie there since: a volume that was missed, mounted again.
func TestUndoingARestoreRemovesOnlyWhatItMade(t *testing.T) {
	root := t.TempDir()
	n := &Node{cfg: Config{Root: root}, log: slog.New(slog.DiscardHandler)}
	rec := fsRecord{ID: efs.NewID(), Name: "user-data"}
	p := n.cfg.places(rec.Name)
	build := func(mark bool, files ...string) {
		t.Helper()
		if err := n.buildDirectories(p, func(string) {}); err != nil {
			t.Fatal(err)
		}
		if mark {
			if err := markRestoring(p, rec.ID); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range files {
			if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	undo := func() {
		t.Helper()
		if err := n.removeRestored(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(want bool) {
		t.Helper()
		if _, err := os.Lstat(p.home); os.IsNotExist(err) != want {
			t.Fatalf("%s: %v", p.home, err)
		}
	}
	undo() // nothing is there
	build(true, filepath.Join(p.files, "content"), p.index)
	undo()
	gone(true)
	build(false) // killed before it was marked
	undo()
	gone(true)
	build(false, filepath.Join(p.home, "."+restoringFile+".tmp-X")) // killed while it was
	undo()
	gone(true)
	build(false, filepath.Join(p.files, "content"))
	undo()
	gone(false)
	if _, err := os.Stat(filepath.Join(p.files, "content")); err != nil {
		t.Error("somebody's content was removed:", err)
	}
}

// Killed after a restore was done and before its marks were removed, the next
// start removes them: they would give the volume up to a later restore.
func TestMarksOfARestoreThatIsDoneGo(t *testing.T) {
	r := newRig(t)
	n := r.open()
	f := mustCreate(t, n, "user-data")
	places, id := f.parts.places, f.ID()
	if err := errors.Join(n.Close(), markRestoring(places, id)); err != nil {
		t.Fatal(err)
	}
	n = r.open()
	if _, err := n.FS("user-data"); err != nil {
		t.Fatal(err)
	}
	for _, top := range places.tops() {
		if _, err := os.Lstat(filepath.Join(top, restoringFile)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the mark in '%s' is there: %v", top, err)
		}
	}
}
