package dir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"golang.org/x/sys/unix"
)

func newStore(t *testing.T, opts Options) (*Store, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "files")
	s, err := Create(root, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, root
}

func write(t *testing.T, s *Store, id efs.ID, content string) {
	t.Helper()
	if err := tryWrite(t, s, id, content); err != nil {
		t.Fatal(err)
	}
}

func tryWrite(t *testing.T, s *Store, id efs.ID, content string) error {
	t.Helper()
	b, err := s.Create(t.Context(), id)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(b, content); err != nil {
		b.Abort()
		return err
	}
	return b.Commit()
}

func read(t *testing.T, s *Store, id efs.ID) (string, error) {
	t.Helper()
	b, err := s.Open(t.Context(), id)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	return string(content), errors.Join(err, b.Close())
}

// names lists all files and directories below root.
func names(t *testing.T, root string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if rel := strings.TrimPrefix(path, root); rel != "" {
			all = append(all, rel[1:])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestModes(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	s, root := newStore(t, Options{})
	fresh, settled := efs.NewID(), efs.NewID()
	write(t, s, fresh, "x")
	write(t, s, settled, "x")
	if err := s.Settle(t.Context(), settled); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := map[bool]os.FileMode{false: 0o600, true: 0o700}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	s, root := newStore(t, Options{})
	kept := efs.NewID()
	write(t, s, kept, "kept")
	left := filepath.Join(root, newDir, efs.NewID().String()+tempSuffix)
	foreign := filepath.Join(root, newDir, "README")
	for _, path := range []string{left, foreign} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("leftover: %v", err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a file that is none of the store's: %v", err)
	}
	if content, err := read(t, s, kept); content != "kept" || err != nil {
		t.Errorf("committed blob: %q, %v", content, err)
	}
	if n := s.unsettled.Load(); n != 1 {
		t.Errorf("%d unsettled blobs counted", n)
	}
}

// TestCrashBetweenSteps opens the states that a crash can leave behind.
func TestCrashBetweenSteps(t *testing.T) {
	s, root := newStore(t, Options{})
	id := efs.NewID()
	write(t, s, id, "content")
	dir, path := place(id, s.layout.FanOut)
	fresh := filepath.Join(root, newDir, id.String())
	check := func(state string) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if s, err = Open(root, Options{}); err != nil {
			t.Fatal(err)
		}
		if content, err := read(t, s, id); content != "content" || err != nil {
			t.Errorf("%s: %q, %v", state, content, err)
		}
		found := 0
		if err := s.Walk(t.Context(), func(efs.BlobInfo) error { found++; return nil }); err != nil || found != 1 {
			t.Errorf("%s: walk tells of %d (%v)", state, found, err)
		}
	}
	check("committed")
	if err := os.MkdirAll(filepath.Join(root, dir), dirMode); err != nil {
		t.Fatal(err)
	}
	check("directories made, not renamed")
	// A volume that does not rename in one step may show both names.
	if err := os.Link(fresh, filepath.Join(root, path)); err != nil {
		t.Fatal(err)
	}
	check("under both names")
	if err := s.Settle(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	check("settled")
	if err := s.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, s, id); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("removed: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFailureLeavesNothing(t *testing.T) {
	for _, step := range []string{"create", "write", "sync", "rename", "syncdir"} {
		for _, c := range []struct{ cause, kind error }{{unix.ENOSPC, efs.ErrNoSpace}, {unix.EDQUOT, efs.ErrNoSpace}, {unix.EIO, unix.EIO}} {
			t.Run(step+" "+c.cause.Error(), func(t *testing.T) {
				failing := ""
				s, root := newStore(t, Options{Fault: func(now string) error {
					if now == failing {
						return &os.PathError{Op: now, Err: c.cause}
					}
					return nil
				}})
				before := names(t, root)
				failing = step
				id := efs.NewID()
				if err := tryWrite(t, s, id, "content"); !errors.Is(err, c.kind) {
					t.Errorf("error %v, want %v", err, c.kind)
				}
				if after := names(t, root); after != before {
					t.Errorf("left behind: %s", after)
				}
				failing = ""
				write(t, s, id, "content")
				// Moves that fail leave the blob where it was.
				for _, move := range []struct {
					step string
					do   func() error
				}{
					{"mkdir", func() error { return s.Settle(t.Context(), id) }},
					{"rename", func() error { return s.Settle(t.Context(), id) }},
					{"rename", func() error { return s.Quarantine(t.Context(), id) }},
					{"unlink", func() error { return s.Remove(t.Context(), id) }},
				} {
					failing = move.step
					if err := move.do(); !errors.Is(err, c.kind) {
						t.Errorf("failing %s: %v", move.step, err)
					}
					failing = ""
					if content, err := read(t, s, id); content != "content" || err != nil {
						t.Errorf("after a failed %s: %q, %v", move.step, content, err)
					}
				}
			})
		}
	}
}

// TestRemoveIsRepeatable: a removal whose sync failed is not confirmed, and
// trying again syncs what is already unlinked.
func TestRemoveIsRepeatable(t *testing.T) {
	fail, syncs := false, 0
	s, _ := newStore(t, Options{Fault: func(step string) error {
		if step == "syncdir" {
			syncs++
			if fail {
				return unix.EIO
			}
		}
		return nil
	}})
	id := efs.NewID()
	write(t, s, id, "x")
	if err := s.Settle(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	fail = true
	if err := s.Remove(t.Context(), id); !errors.Is(err, unix.EIO) {
		t.Errorf("remove with a failing sync: %v", err)
	}
	fail, syncs = false, 0
	if err := s.Remove(t.Context(), id); err != nil || syncs != 1 {
		t.Errorf("removed again: %v, %d syncs", err, syncs)
	}
}

func TestCrowdedNewIsSettledByCommit(t *testing.T) {
	s, root := newStore(t, Options{})
	s.crowded = 3
	for range 10 {
		write(t, s, efs.NewID(), "x")
	}
	if left, err := os.ReadDir(filepath.Join(root, newDir)); err != nil || len(left) != 3 {
		t.Errorf("%d blobs lie in .new (%v), want 3", len(left), err)
	}
}

func TestLooseVolumesSyncWhenSettling(t *testing.T) {
	syncs := 0
	s, _ := newStore(t, Options{Fault: func(step string) error {
		if step == "syncdir" {
			syncs++
		}
		return nil
	}})
	for _, c := range []struct {
		loose bool
		want  int
	}{{false, 0}, {true, 2}} {
		id := efs.NewID()
		write(t, s, id, "x")
		syncs, s.volume.loose = 0, c.loose
		if err := s.Settle(t.Context(), id); err != nil || syncs != c.want {
			t.Errorf("loose %v: %v, %d syncs, want %d", c.loose, err, syncs, c.want)
		}
	}
}
