package mirror

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs/internal/transfer"
	"github.com/efs-project/efs/internal/treesync"
)

// A source that becomes empty while it is watched, as one does whose volume was
// unmounted, is no reason to delete everything.
func TestAWatchedSourceThatBecomesEmptyDeletesNothing(t *testing.T) {
	dir, p := t.TempDir(), drive(t)
	write(t, filepath.Join(dir, "in", "a"), "a")
	m, err := Open(Options{From: transfer.Place{Path: dir}, To: p, Delete: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ended := make(chan error, 1)
	go func() { ended <- m.Watch(t.Context()) }()
	there := func() error { _, err := p.Client.Stat(t.Context(), p.Path+"/in/a"); return err }
	comesTrue(t, func() string {
		if err := there(); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := os.Rename(filepath.Join(dir, "in"), filepath.Join(t.TempDir(), "away")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, treesync.ErrEmptySource) {
		t.Errorf("watching ended with %v", err)
	}
	if err := there(); err != nil {
		t.Errorf("what was there: %v", err)
	}
}

// The memory of two trees does not depend on how they are written: else what
// was added at the destination would be deleted as if there had been no last
// time.
func TestAPairHasOneNameHoweverItIsWritten(t *testing.T) {
	want := RemotePair("https://h", "drive", "/a/b")
	for _, path := range []string{"a/b", "/a/b/", "a/b/"} {
		if got := RemotePair("https://h", "drive", path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if a, b := RemotePair("u", "d", ""), RemotePair("u", "d", "/"); a != b {
		t.Errorf("the root is %q and %q", a, b)
	}
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	before, err := LocalPair(filepath.Join(link, "not", "yet"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "not", "yet"), 0o700); err != nil {
		t.Fatal(err)
	}
	after, err := LocalPair(filepath.Join(link, "not", "yet"))
	if err != nil || before != after {
		t.Errorf("%q before it was made, %q after, %v", before, after, err)
	}
}
