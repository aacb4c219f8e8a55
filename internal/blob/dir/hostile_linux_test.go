package dir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"golang.org/x/sys/unix"
)

// TestPlantedLinks puts symbolic links where the store keeps directories and
// blobs: nothing is read, written or removed through them.
func TestPlantedLinks(t *testing.T) {
	for name, old := range map[string]bool{"openat2": false, "component by component": true} {
		t.Run(name, func(t *testing.T) {
			defer oldKernel.Store(oldKernel.Swap(old))
			plantLinks(t)
		})
	}
}

func plantLinks(t *testing.T) {
	s, root := newStore(t, Options{})
	outside := t.TempDir()
	id := efs.NewID()
	write(t, s, id, "content")
	dir, _ := place(id, s.layout.FanOut)
	top, _, _ := strings.Cut(dir, "/")
	if err := os.MkdirAll(filepath.Join(outside, dir[len(top)+1:]), dirMode); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, dir[len(top)+1:], id.String()), []byte("planted"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(root, top)); err != nil {
		t.Fatal(err)
	}
	before := names(t, outside)
	for what, do := range map[string]func() error{
		"settle": func() error { return s.Settle(t.Context(), id) },
		"open":   func() error { _, err := s.Open(t.Context(), id); return err },
		"walk":   func() error { return s.Walk(t.Context(), func(efs.BlobInfo) error { return nil }) },
	} {
		if err := do(); !errors.Is(err, efs.ErrDamaged) {
			t.Errorf("%s through a planted link: %v", what, err)
		}
	}
	if err := s.Remove(t.Context(), id); err != nil { // it still lies in .new
		t.Error(err)
	}
	for what, do := range map[string]func() error{
		"remove":     func() error { return s.Remove(t.Context(), id) },
		"quarantine": func() error { return s.Quarantine(t.Context(), id) },
	} {
		if err := do(); !errors.Is(err, efs.ErrDamaged) {
			t.Errorf("%s through a planted link: %v", what, err)
		}
	}
	if after := names(t, outside); after != before {
		t.Errorf("outside: %s, was %s", after, before)
	}
}

func TestPlantedFiles(t *testing.T) {
	s, root := newStore(t, Options{})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, plant := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(secret, path) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"pipe":      func(path string) error { return unix.Mkfifo(path, 0o600) },
	} {
		id := efs.NewID()
		if err := plant(filepath.Join(root, newDir, id.String())); err != nil {
			t.Fatal(err)
		}
		if content, err := read(t, s, id); !errors.Is(err, efs.ErrDamaged) {
			t.Errorf("%s in place of a blob: %q, %v", what, content, err)
		}
		if err := tryWrite(t, s, id, "x"); !errors.Is(err, efs.ErrExists) {
			t.Errorf("written over a %s: %v", what, err)
		}
	}
	if err := s.Unsettled(t.Context(), func(b efs.BlobInfo) error { return fmt.Errorf("%v", b) }); err != nil {
		t.Errorf("told of a planted file: %v", err)
	}
	// A link in place of a temporary file is not written through.
	id := efs.NewID()
	if err := os.Symlink(secret, filepath.Join(root, newDir, id.String()+tempSuffix)); err != nil {
		t.Fatal(err)
	}
	if err := tryWrite(t, s, id, "x"); !errors.Is(err, efs.ErrExists) {
		t.Errorf("written through a link: %v", err)
	}
	if b, err := os.ReadFile(secret); string(b) != "secret" {
		t.Errorf("file outside: %q, %v", b, err)
	}
}

func TestWalkPassesOverStrangers(t *testing.T) {
	s, root := newStore(t, Options{})
	id := efs.NewID()
	write(t, s, id, "x")
	if err := s.Settle(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"README", "zz/file", "journal/0001", ".trash/x", "00/note", "00/00/note", "ff/ff/" + efs.ID{1}.String()} {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	var found []efs.ID
	err := s.Walk(t.Context(), func(b efs.BlobInfo) error { found = append(found, b.ID); return nil })
	if err != nil || len(found) != 1 || found[0] != id {
		t.Errorf("walk tells of %v (%v), want %s", found, err, id)
	}
}

func TestLayoutIsFixed(t *testing.T) {
	s, root := newStore(t, Options{FanOut: 3})
	id := efs.NewID()
	write(t, s, id, "x")
	if err := errors.Join(s.Settle(t.Context(), id), s.Close()); err != nil {
		t.Fatal(err)
	}
	layoutPath := filepath.Join(root, layoutFile)
	good, err := os.ReadFile(layoutPath)
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(what string, opts Options, kind error, says string) {
		t.Helper()
		s, err := Open(root, opts)
		if err == nil {
			_ = s.Close()
		}
		if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refuse("another fan-out", Options{FanOut: 2}, efs.ErrBadInput, "made with 3 levels, not 2")
	if _, err := Create(root, Options{}); !errors.Is(err, efs.ErrExists) {
		t.Errorf("created again: %v", err)
	}
	for _, c := range []struct {
		text, says string
		kind       error
	}{
		{"", "layout file", efs.ErrDamaged},
		{"{", "layout file", efs.ErrDamaged},
		{`{"format":1,"fan_out":9}`, "fan-out of 9", efs.ErrDamaged},
		{`{"format":2,"fan_out":2}`, "use the version that wrote it", efs.ErrRefused},
	} {
		if err := os.WriteFile(layoutPath, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		refuse(c.text, Options{}, c.kind, c.says)
	}
	if err := os.Remove(layoutPath); err != nil {
		t.Fatal(err)
	}
	refuse("no layout", Options{}, efs.ErrNotFound, "mount the volume")
	if _, err := Create(root, Options{}); !errors.Is(err, efs.ErrExists) || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("created over contents without a layout: %v", err)
	}
	if err := os.WriteFile(layoutPath, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err = Open(root, Options{FanOut: 3})
	if err != nil {
		t.Fatal(err)
	}
	if content, err := read(t, s, id); content != "x" || err != nil {
		t.Errorf("%q, %v", content, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, fanOut := range []int{-1, 1, 4} {
		if _, err := Create(filepath.Join(t.TempDir(), "files"), Options{FanOut: fanOut}); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%d levels: %v", fanOut, err)
		}
	}
}

// TestCreateFinishesWhatACrashLeft: everything but the layout, which is
// written last.
func TestCreateFinishesWhatACrashLeft(t *testing.T) {
	s, root := newStore(t, Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, layoutFile), filepath.Join(root, layoutFile+tempSuffix)); err != nil {
		t.Fatal(err)
	}
	s, err := Create(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, efs.NewID(), "x")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenOfNothing(t *testing.T) {
	root := filepath.Join(t.TempDir(), "files")
	if _, err := Open(root, Options{}); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("no directory: %v", err)
	}
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root, Options{}); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("an empty directory, as of a volume that is not mounted: %v", err)
	}
	if left := names(t, root); left != "" {
		t.Errorf("opening made %s", left)
	}
}
