package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever can write the volume keeps exchanging a directory for a link to one
// that lies beside the tree. Nothing outside the tree is removed.
func TestRemoveTreeFollowsNoExchangedLink(t *testing.T) {
	base := t.TempDir()
	tree, link := filepath.Join(base, "tree"), filepath.Join(base, "link")
	dir := filepath.Join(tree, "dir")
	kept := filepath.Join(base, "victim", "kept")
	for _, d := range []string{filepath.Dir(kept), tree} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE) // fails while one is gone
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		_ = os.RemoveAll(dir)
		_ = os.RemoveAll(link)
		if err := errors.Join(os.MkdirAll(tree, 0o700), os.Symlink(filepath.Dir(kept), link), fill(dir)); err != nil {
			continue // the other got in between
		}
		_ = removeTree(context.Background(), tree) // may find what it removes replaced
		if _, err := os.Lstat(kept); err != nil {
			t.Fatal("a file outside the tree was removed")
		}
	}
}

// fill makes a directory with directories in it, so that it cannot be removed
// at one go.
func fill(dir string) error {
	for _, name := range []string{"a", "b", "c", "d"} {
		if err := os.MkdirAll(filepath.Join(dir+".new", name), 0o700); err != nil {
			return err
		}
	}
	return os.Rename(dir+".new", dir)
}
