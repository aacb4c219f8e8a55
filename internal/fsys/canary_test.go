package fsys

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

// Nothing that a user stored is to be read from the volume, whatever was
// deleted or replaced in between.
func TestNothingStoredIsReadableOnTheVolume(t *testing.T) {
	e := newEnv(t)
	const canary = "canary-7f3a"
	body := func(n int) []byte { return bytes.Repeat([]byte("content-"+canary), n/18) }
	for _, n := range []int{inlineSize, blobSize} {
		path := "dir-" + canary + "/sub-" + canary + "/file-" + canary
		_, err := e.Put(ctx, path, bytes.NewReader(body(n)), PutOptions{
			Who: Who{User: "user-" + canary}, Type: "type/" + canary, Meta: map[string]string{"meta-" + canary: canary}, Size: -1,
		})
		e.check(err)
		_, err = e.Move(ctx, path, "moved-"+canary, MoveOptions{Overwrite: true})
		e.check(err)
	}
	e.check(e.AccessCommit(ctx, []efs.AccessMutation{{Kind: "kind-" + canary, Name: canary, Value: []byte(canary)}}))
	e.check(e.Remove(ctx, "dir-"+canary, RemoveOptions{Recursive: true}))
	search := func() {
		e.check(filepath.WalkDir(e.root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(p)
			for _, s := range []string{canary, hex.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(canary))[:12]} {
				if bytes.Contains(b, []byte(s)) || strings.Contains(p, s) {
					t.Errorf("%q is readable in %s", s, filepath.Base(p))
				}
			}
			return err
		}))
	}
	search()
	e.idle()
	e.close()
	search()
}

// What goes to an operator's log says which file, not where it is.
func TestErrorsForTheLogNameNoPath(t *testing.T) {
	e := newEnv(t)
	const path = "secret-dir/secret-file"
	for _, n := range []int{inlineSize, blobSize} {
		x := e.put(path, data(1, n)).Entry.Extents[0]
		e.idle()
		if x.Inline {
			e.alter(inlineKey(x.Content), nil)
		} else {
			e.check(e.o.Blobs.Remove(ctx, x.Content))
		}
		_, err := e.read(path)
		e.refused("missing content", err, efs.ErrDamaged)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error %q names the path", err)
		}
	}
	e.alter(e.entryAt(path), []byte("garbage"))
	if _, err := e.Stat(ctx, path); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error %q names the path", err)
	}
	if strings.Contains(errBusy.Error(), "'") {
		t.Errorf("the error %q names a path", errBusy)
	}
}
