package mirror

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs/internal/stage"
	"github.com/efs-project/efs/internal/treesync"
)

// A private directory is private from the beginning, not only when all that is
// in it has come.
func TestADirectoryIsMadeNoWiderThanItWillBe(t *testing.T) {
	dir := t.TempDir()
	l, err := openLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for path, c := range map[string]struct {
		node treesync.Node
		want os.FileMode
	}{
		"private": {treesync.Node{Mode: 0o700, HasMode: true}, 0o700},
		"sealed":  {treesync.Node{Mode: 0o550, HasMode: true}, 0o750}, // its owner is to write in it
	} {
		c.node.Path, c.node.Kind = path, treesync.Dir
		if err := l.mkdir(t.Context(), &c.node); err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(filepath.Join(dir, path)); err != nil || fi.Mode().Perm() != c.want&^stage.Umask() {
			t.Errorf("%s: %v, %v, want %v", path, fi.Mode(), err, c.want)
		}
	}
}
