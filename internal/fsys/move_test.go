package fsys

import (
	"slices"
	"testing"

	"github.com/efs-project/efs"
)

func TestMovingKeepsIdVersionAndETag(t *testing.T) {
	e := newEnv(t)
	for _, n := range []int{inlineSize, blobSize} {
		old := e.put("from/f", data(1, n)).Entry
		res, err := e.Move(ctx, "from/f", "to/sub/g", MoveOptions{})
		e.check(err)
		got := res.Entry
		if !res.Created || got.File != old.File || got.ETag != old.ETag || got.Version != old.Version || got.Name != "g" {
			t.Errorf("moved %+v to %+v", old, res)
		}
		e.missing("from/f")
		e.holds("to/sub/g", data(1, n))
		if p, err := e.Resolve(ctx, old.File); err != nil || p != "to/sub/g" {
			t.Errorf("id leads to %q, %v", p, err)
		}
		e.check(e.Remove(ctx, "to", RemoveOptions{Recursive: true}))
	}
	e.idle()
	e.clean()
}

func TestMovingADirectory(t *testing.T) {
	e := newEnv(t)
	e.put("a/b/c/file", data(1, inlineSize))
	id := e.put("a/b/other", data(2, blobSize)).Entry.File
	dir, err := e.Stat(ctx, "a/b")
	e.check(err)
	_, err = e.Move(ctx, "a/b", "x/y", MoveOptions{})
	e.check(err)
	e.missing("a/b")
	e.missing("a/b/c/file")
	e.holds("x/y/c/file", data(1, inlineSize))
	if got, err := e.Stat(ctx, "x/y"); err != nil || got.File != dir.File || got.ETag != dir.ETag {
		t.Errorf("moved directory %+v, %v", got, err)
	}
	if p, err := e.Resolve(ctx, id); err != nil || p != "x/y/other" {
		t.Errorf("id leads to %q, %v", p, err)
	}
	if p, err := e.Resolve(ctx, dir.File); err != nil || p != "x/y" {
		t.Errorf("id of the directory leads to %q, %v", p, err)
	}
	// The old path is free, and what is stored there is elsewhere.
	e.put("a/b/c/file", []byte("new"))
	e.holds("x/y/c/file", data(1, inlineSize))
	for _, to := range []string{"x/y/z", "x/y/c", "x/y/c/d/e"} {
		_, err = e.Move(ctx, "x/y", to, MoveOptions{Overwrite: true})
		e.refused("below itself, to "+to, err, efs.ErrBadInput)
	}
	_, err = e.Move(ctx, "x/y", "x/y", MoveOptions{})
	e.refused("to itself", err, efs.ErrBadInput)
	_, err = e.Move(ctx, "x/y", "/", MoveOptions{})
	e.refused("to the root", err, efs.ErrBadPath)
	_, err = e.Move(ctx, "x/none", "q", MoveOptions{})
	e.refused("of nothing", err, efs.ErrNotFound)
	e.clean()
}

func TestMovingOntoSomething(t *testing.T) {
	e := newEnv(t)
	e.put("f", data(1, inlineSize))
	e.put("g", data(2, blobSize))
	e.put("full/x", nil)
	_, err := e.Mkdir(ctx, "empty", MkdirOptions{})
	e.check(err)
	_, err = e.Mkdir(ctx, "dir", MkdirOptions{})
	e.check(err)
	_, err = e.Move(ctx, "f", "g", MoveOptions{})
	e.refused("file onto file", err, efs.ErrExists)
	_, err = e.Move(ctx, "f", "full", MoveOptions{Overwrite: true})
	e.refused("file onto directory", err, efs.ErrIsDir)
	_, err = e.Move(ctx, "full", "g", MoveOptions{Overwrite: true})
	e.refused("directory onto file", err, efs.ErrNotDir)
	_, err = e.Move(ctx, "dir", "full", MoveOptions{Overwrite: true})
	e.refused("onto a full directory", err, efs.ErrNotEmpty)
	_, err = e.Move(ctx, "full/x", "full", MoveOptions{Overwrite: true})
	e.refused("file onto its own directory", err, efs.ErrIsDir)
	_, err = e.Move(ctx, "full", "empty", MoveOptions{Overwrite: true})
	e.check(err)
	e.holds("empty/x", nil)
	res, err := e.Move(ctx, "f", "g", MoveOptions{Overwrite: true, Cond: Cond{IfMatch: []string{"*"}}})
	e.check(err)
	if res.Created {
		t.Error("a replaced file is reported as created")
	}
	e.holds("g", data(1, inlineSize))
	e.idle()
	if n := len(e.blobs()); n != 0 {
		t.Errorf("%d blobs are left of the replaced file", n)
	}
	e.clean()
}

func TestCopy(t *testing.T) {
	e := newEnv(t)
	e.put("src/a/inline", data(1, inlineSize))
	e.put("src/blob", data(2, blobSize))
	_, err := e.Mkdir(ctx, "src/empty", MkdirOptions{Meta: map[string]string{"k": "v"}})
	e.check(err)
	_, err = e.Copy(ctx, "src", "dst/copy", CopyOptions{})
	e.check(err)
	want := e.listed("src", ListOptions{Recursive: true})
	if got := e.listed("dst/copy", ListOptions{Recursive: true}); !slices.Equal(got, want) {
		t.Errorf("copied %q, want %q", got, want)
	}
	src, err := e.Stat(ctx, "src/blob")
	e.check(err)
	dst, err := e.Stat(ctx, "dst/copy/blob")
	e.check(err)
	if src.File == dst.File || src.ETag == dst.ETag || src.Extents[0].Content == dst.Extents[0].Content || src.Modified != dst.Modified {
		t.Errorf("a copy shares with its source: %+v, %+v", src, dst)
	}
	e.check(e.Remove(ctx, "src", RemoveOptions{Recursive: true}))
	e.idle()
	e.holds("dst/copy/a/inline", data(1, inlineSize))
	e.holds("dst/copy/blob", data(2, blobSize))

	_, err = e.Copy(ctx, "dst/copy/blob", "dst/copy/a/inline", CopyOptions{})
	e.refused("onto a file", err, efs.ErrExists)
	_, err = e.Copy(ctx, "dst/copy/blob", "dst/copy/a/inline", CopyOptions{Overwrite: true})
	e.check(err)
	e.holds("dst/copy/a/inline", data(2, blobSize))
	_, err = e.Copy(ctx, "dst", "dst/copy/below", CopyOptions{})
	e.refused("below itself", err, efs.ErrBadInput)
	_, err = e.Copy(ctx, "/", "dst/copy/below", CopyOptions{})
	e.refused("of the root", err, efs.ErrBadInput)
	_, err = e.Copy(ctx, "dst", "dst", CopyOptions{})
	e.refused("onto itself", err, efs.ErrBadInput)
	e.idle()
	e.clean()
}
