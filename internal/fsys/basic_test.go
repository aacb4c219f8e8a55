package fsys

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/efs-project/efs"
)

func TestStoresOfEverySizeReadBack(t *testing.T) {
	e := newEnv(t)
	limit := e.policy.InlineLimit
	sizes := []int{0, 1, 100, limit - 1, limit, limit + 1, 4<<10 + 4<<10, 100_000}
	for i, n := range sizes {
		want := data(uint64(i), n)
		path := "dir/sub/" + strings.Repeat("x", i+1)
		res := e.put(path, want)
		if !res.Created || res.Entry.Size != int64(n) || !bytes.Equal(res.Entry.Digest, digest(want)) || res.Entry.Version != 1 {
			t.Errorf("storing %d bytes: %+v", n, res)
		}
		if inline := res.Entry.Extents[0].Inline; inline != (n <= limit) {
			t.Errorf("%d bytes inline: %v", n, inline)
		}
		e.holds(path, want)
	}
	e.reopen()
	for i, n := range sizes {
		e.holds("dir/sub/"+strings.Repeat("x", i+1), data(uint64(i), n))
	}
	e.idle()
	if r := e.clean(); r.Files != int64(len(sizes)) || r.Directories != 2 || !r.UsageChecked {
		t.Errorf("fsck counts %+v", r)
	}
}

func TestReplacingKeepsTheFileAndReleasesTheOldContent(t *testing.T) {
	e := newEnv(t)
	first := e.put("a/file", data(1, blobSize)).Entry
	for i, n := range []int{inlineSize, blobSize, inlineSize, blobSize} {
		res := e.put("a/file", data(uint64(i), n))
		if res.Created || res.Entry.File != first.File || res.Entry.Version != uint64(i+2) || res.Entry.Created != first.Created {
			t.Errorf("replacement %d: %+v", i, res)
		}
		e.holds("a/file", data(uint64(i), n))
	}
	e.idle()
	if n := len(e.blobs()); n != 1 {
		t.Errorf("%d blobs are left", n)
	}
	if n := e.records(efs.SpaceInline); n != 0 {
		t.Errorf("%d inline contents are left", n)
	}
	if u, err := e.Usage(ctx); err != nil || u != (efs.Usage{Bytes: blobSize, Files: 1}) {
		t.Errorf("usage %+v, %v", u, err)
	}
	e.clean()
}

func TestMetadataIsKept(t *testing.T) {
	e := newEnv(t)
	when := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
	for _, n := range []int{inlineSize, blobSize} {
		_, err := e.Put(ctx, "f", bytes.NewReader(data(1, n)), PutOptions{
			Who: Who{User: "app1"}, Type: "application/pdf", Meta: map[string]string{"case": "173"},
			Size: int64(n), SHA256: digest(data(1, n)), Modified: when, Mode: 0o640,
		})
		e.check(err)
		got, err := e.Stat(ctx, "/f")
		e.check(err)
		if got.Type != "application/pdf" || got.Meta["case"] != "173" || got.Owner != "app1" || got.Mode != 0o640 ||
			got.Modified != when.UnixMicro() || got.Name != "f" || got.Kind != efs.KindFile {
			t.Errorf("entry %+v", got)
		}
	}
}

func TestAFailedStoreChangesNothing(t *testing.T) {
	e := newEnv(t)
	e.put("keep", data(1, blobSize))
	e.put("dir/f", nil)
	before, err := e.Head(ctx)
	e.check(err)
	cut := errors.New("cut off")
	for _, n := range []int{inlineSize, blobSize} {
		body := func() io.Reader { return bytes.NewReader(data(2, n)) }
		_, err = e.Put(ctx, "keep", body(), PutOptions{Size: -1, SHA256: digest(nil)})
		e.refused("wrong digest", err, efs.ErrDigest)
		_, err = e.Put(ctx, "keep", body(), PutOptions{Size: int64(n + 1)})
		e.refused("short body", err, efs.ErrBadInput)
		_, err = e.Put(ctx, "keep", body(), PutOptions{Size: int64(n - 1)})
		e.refused("long body", err, efs.ErrBadInput)
		_, err = e.Put(ctx, "keep", io.MultiReader(body(), iotest.ErrReader(cut)), PutOptions{Size: -1})
		e.refused("aborted body", err, cut)
		_, err = e.Put(ctx, "keep", io.MultiReader(body(), iotest.ErrReader(io.ErrUnexpectedEOF)), PutOptions{Size: -1})
		e.refused("body cut off", err, io.ErrUnexpectedEOF)
		_, err = e.Put(ctx, "dir", body(), PutOptions{Size: -1})
		e.refused("in place of a directory", err, efs.ErrIsDir)
		_, err = e.Put(ctx, "keep/below", body(), PutOptions{Size: -1})
		e.refused("below a file", err, efs.ErrNotDir)
		_, err = e.Put(ctx, "keep", body(), PutOptions{Size: -1, Type: strings.Repeat("x", MaxType+1)})
		e.refused("long type", err, efs.ErrBadInput)
		_, err = e.Put(ctx, "new/", body(), PutOptions{Size: -1})
		e.refused("path with a slash at its end", err, efs.ErrBadPath)
		_, err = e.Put(ctx, "keep", body(), PutOptions{Size: -1, Cond: Cond{IfMatch: []string{"other"}}})
		e.refused("condition", err, efs.ErrPrecondition)
	}
	after, err := e.Head(ctx)
	e.check(err)
	if after != before {
		t.Errorf("the index went from %+v to %+v", before, after)
	}
	if n := len(e.blobs()); n != 1 {
		t.Errorf("%d blobs, want the one that was there", n)
	}
	e.holds("keep", data(1, blobSize))
}

func TestPaths(t *testing.T) {
	for path, want := range map[string]int{
		"": 0, "/": 0, "a": 1, "/a": 1, "a/": 1, "/a/b/": 2, "ä/…": 2, "a b/%2F": 2, "...": 1, ".a": 1,
		strings.Repeat("x", 255): 1,
	} {
		segs, err := ParsePath(path)
		if err != nil || len(segs) != want {
			t.Errorf("%q: %q, %v", path, segs, err)
		}
	}
	for _, path := range []string{
		"//", "a//b", "//a", "a//", ".", "..", "a/../b", "a/./b", "/..", "a\x00b", "\xff", strings.Repeat("x", 256),
		strings.Repeat("x/", 2049), strings.Repeat("abc/", 1025),
	} {
		if _, err := ParsePath(path); !errors.Is(err, efs.ErrBadPath) {
			t.Errorf("%.20q: %v, want ErrBadPath", path, err)
		}
	}
}

func TestDeepPaths(t *testing.T) {
	e := newEnv(t)
	path := strings.Repeat("d/", 1000) + "file"
	e.put(path, []byte("deep"))
	e.holds(path, []byte("deep"))
	e.reopen()
	e.holds(path, []byte("deep"))
	got, err := e.Resolve(ctx, e.put(path, []byte("again")).Entry.File)
	if err != nil || got != path {
		t.Errorf("resolved to a path of %d bytes, %v", len(got), err)
	}
	e.check(e.Remove(ctx, "d", RemoveOptions{Recursive: true}))
	e.idle()
	if n := e.records(efs.SpacePlaces); n != 1 {
		t.Errorf("%d places are left", n)
	}
	e.clean()
}

func TestMkdirAndRemove(t *testing.T) {
	e := newEnv(t)
	_, err := e.Mkdir(ctx, "a/b", MkdirOptions{})
	e.refused("without parent", err, efs.ErrNotFound)
	d, err := e.Mkdir(ctx, "a/b/", MkdirOptions{Parents: true, Meta: map[string]string{"k": "v"}})
	e.check(err)
	if got, err := e.Stat(ctx, "a/b"); err != nil || got.File != d.File || got.Kind != efs.KindDir || got.Meta["k"] != "v" {
		t.Errorf("directory %+v, %v", got, err)
	}
	for _, path := range []string{"a/b", "a", "/", ""} {
		_, err = e.Mkdir(ctx, path, MkdirOptions{})
		e.refused("twice "+path, err, efs.ErrExists)
	}
	e.put("a/b/f", []byte("x"))
	e.refused("full directory", e.Remove(ctx, "a/b", RemoveOptions{}), efs.ErrNotEmpty)
	e.refused("root", e.Remove(ctx, "/", RemoveOptions{Recursive: true}), efs.ErrBadPath)
	e.refused("nothing", e.Remove(ctx, "a/x", RemoveOptions{}), efs.ErrNotFound)
	e.refused("wrong tag", e.Remove(ctx, "a/b/f", RemoveOptions{Cond: Cond{IfMatch: []string{"x"}}}), efs.ErrPrecondition)
	e.check(e.Remove(ctx, "a/b/f", RemoveOptions{}))
	e.check(e.Remove(ctx, "a/b", RemoveOptions{}))
	e.missing("a/b")
	_, err = e.Open(ctx, "a")
	e.refused("reading a directory", err, efs.ErrIsDir)
	_, err = e.Open(ctx, "/")
	e.refused("reading the root", err, efs.ErrIsDir)
	e.idle()
	e.clean()
}

func TestRemovingATreeIsImmediateAndLeavesNothing(t *testing.T) {
	e := newEnv(t)
	for i := range 450 { // more than two batches
		e.put("tree/many/"+string(rune('a'+i%26))+strings.Repeat("x", i/26), data(uint64(i), 10))
	}
	e.put("tree/deep/er/blob", data(1, blobSize))
	id := e.put("tree/deep/er/inline", data(1, inlineSize)).Entry.File
	e.put("other", []byte("stays"))
	e.check(e.Remove(ctx, "tree", RemoveOptions{Recursive: true}))
	e.missing("tree")
	e.missing("tree/deep/er/blob")
	if p, err := e.Resolve(ctx, id); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("a file in a deleted tree is at %q, %v", p, err)
	}
	e.reopen() // in the middle of it
	e.put("tree/deep/new", []byte("another tree"))
	e.idle()
	e.holds("tree/deep/new", []byte("another tree"))
	e.holds("other", []byte("stays"))
	if n := len(e.blobs()); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
	for space, want := range map[efs.Space]int{
		efs.SpaceEntries: 4, efs.SpaceFiles: 2, efs.SpacePlaces: 3, efs.SpaceInline: 2, efs.SpaceContents: 0,
	} {
		if n := e.records(space); n != want {
			t.Errorf("space %d has %d records, want %d", space, n, want)
		}
	}
	if u, err := e.Usage(ctx); err != nil || u.Files != 2 {
		t.Errorf("usage %+v, %v", u, err)
	}
	e.clean()
}

func TestPatch(t *testing.T) {
	e := newEnv(t)
	old := e.put("f", data(1, inlineSize)).Entry
	typ, v, when, mode := "text/plain", "1", time.UnixMicro(5), uint32(0o600)
	got, err := e.Patch(ctx, "f", PatchOptions{
		Cond: Cond{IfMatch: []string{old.ETag}}, Type: &typ, Modified: &when, Mode: &mode,
		Meta: map[string]*string{"a": &v, "b": &v},
	})
	e.check(err)
	if got.Version != 2 || got.ETag == old.ETag || got.Type != typ || got.Modified != 5 || got.Mode != mode || got.Meta["b"] != "1" {
		t.Errorf("patched %+v", got)
	}
	got, err = e.Patch(ctx, "f", PatchOptions{Meta: map[string]*string{"a": nil}})
	if _, there := got.Meta["a"]; err != nil || there || got.Meta["b"] != "1" || got.Type != typ {
		t.Errorf("patched %+v, %v", got, err)
	}
	_, err = e.Patch(ctx, "f", PatchOptions{Cond: Cond{IfMatch: []string{old.ETag}}})
	e.refused("old tag", err, efs.ErrPrecondition)
	_, err = e.Patch(ctx, "g", PatchOptions{})
	e.refused("nothing there", err, efs.ErrNotFound)
	e.holds("f", data(1, inlineSize))
	e.clean()
}
