package fsarchive

import (
	"bytes"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
)

// A directory that is moved into a deep one takes what is in it to paths longer
// than anybody could name. That is no reason to refuse everybody an archive.
func TestWhatWasMovedBelowALongPathIsArchived(t *testing.T) {
	fs := newFS(t)
	long := strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 250)+"/", 12), "/")
	for _, top := range []string{"a/", "b/"} {
		_, err := fs.Put(ctx, top+long+"/file", strings.NewReader("in "+top), fsys.PutOptions{Size: -1})
		must(t, err)
	}
	full, err := archiveOf(t, fs, Options{})
	must(t, err)
	_, err = fs.Move(ctx, "b", "a/"+long+"/b", fsys.MoveOptions{})
	must(t, err)
	deep := "a/" + long + "/b/" + long + "/file"
	if _, err := fs.Stat(ctx, deep); err == nil || len(deep) <= efs.MaxPath {
		t.Fatalf("a path of %d bytes: %v", len(deep), err)
	}
	got, err := archiveOf(t, fs, Options{})
	must(t, err)
	whole := tree{}
	info, err := whole.put(bytes.NewReader(got))
	must(t, err)
	if whole[deep] == "" {
		t.Errorf("the file that was moved is not in the archive: %d members", len(whole))
	}
	chain := tree{}
	was, err := chain.put(bytes.NewReader(full))
	must(t, err)
	must(t, fs.Remove(ctx, "a/"+long+"/b", fsys.RemoveOptions{Recursive: true}))
	_, err = fs.Put(ctx, "b", strings.NewReader("b"), fsys.PutOptions{Size: -1})
	must(t, err)
	got, err = archiveOf(t, fs, Options{Since: was.Sequence})
	must(t, err)
	_, err = chain.put(bytes.NewReader(got))
	must(t, err)
	if chain["b/"+long+"/file"] != "" || chain["a/"+long+"/file"] == "" || chain["b"] == "" || info.Since != 0 {
		t.Errorf("an incremental archive of it restores %d members", len(chain))
	}
}
