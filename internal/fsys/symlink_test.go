package fsys

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

func (e *env) leadsTo(path, target string) efs.Entry {
	e.t.Helper()
	got, err := e.Stat(ctx, path)
	if err != nil || got.Kind != efs.KindSymlink || got.Target != target || len(got.Extents) != 0 || got.Size != 0 {
		e.t.Errorf("%s is %+v, %v; want a symlink to %q", path, got, err, target)
	}
	return got
}

func TestASymlinkIsKeptAsItIs(t *testing.T) {
	e := newEnv(t)
	when := time.Date(2001, 2, 3, 4, 5, 6, 789000, time.UTC)
	o := PutOptions{Who: Who{User: "alice"}, Mode: 0o777, Modified: when, Meta: map[string]string{"ward": "7"}}
	for i, target := range []string{"a", "../up/é", "/absolute", strings.Repeat("t", efs.MaxTarget)} {
		res, err := e.Symlink(ctx, "d/link", target, o)
		e.check(err)
		if res.Created != (i == 0) || res.Entry.Version != uint64(i+1) {
			t.Errorf("%+v", res)
		}
		got := e.leadsTo("d/link", target)
		if got.Mode != 0o777 || got.Meta["ward"] != "7" || got.Modified != when.UnixMicro() || got.Owner != "alice" {
			t.Errorf("%+v", got)
		}
		page, _, err := e.List(ctx, "d", ListOptions{})
		e.check(err)
		if len(page) != 1 || page[0].Target != target {
			t.Errorf("listed: %+v", page)
		}
	}
	if _, err := e.Open(ctx, "d/link"); err == nil {
		t.Error("a symlink was opened")
	} else {
		e.refused("opening a symlink", err, efs.ErrSymlink)
	}
	_, err := e.Stat(ctx, "d/link/below")
	e.refused("a path through a symlink", err, efs.ErrNotDir)
	for _, target := range []string{"", "a\x00b", "\xff", strings.Repeat("t", efs.MaxTarget+1)} {
		_, err := e.Symlink(ctx, "d/bad", target, PutOptions{})
		e.refused("a malformed target", err, efs.ErrBadInput)
	}
	_, err = e.Symlink(ctx, "d", "x", PutOptions{})
	e.refused("a symlink in place of a directory", err, efs.ErrIsDir)
	_, err = e.Symlink(ctx, "d/link", "x", PutOptions{Cond: Cond{IfNoneMatch: []string{"*"}}})
	e.refused("a symlink that must be new", err, efs.ErrPrecondition)
	e.clean()
}

// Files and symlinks take each other's place, and what is counted follows.
func TestFilesAndSymlinksReplaceEachOther(t *testing.T) {
	e := newEnv(t)
	for _, size := range []int{inlineSize, blobSize} {
		file := e.put("x", data(1, size)).Entry
		link, err := e.Symlink(ctx, "x", "target", PutOptions{})
		e.check(err)
		if link.Entry.File != file.File || link.Entry.Version != file.Version+1 || link.Entry.ETag == file.ETag {
			t.Errorf("%+v in place of %+v", link.Entry, file)
		}
		if u := must(e.Usage(ctx)); u != (efs.Usage{Files: 1}) {
			t.Errorf("a symlink uses %+v", u)
		}
	}
	e.put("x", data(2, inlineSize))
	e.holds("x", data(2, inlineSize))
	e.check(e.Remove(ctx, "x", RemoveOptions{}))
	if u := must(e.Usage(ctx)); u != (efs.Usage{}) {
		t.Errorf("nothing uses %+v", u)
	}
	e.idle()
	e.clean()
	if n := e.records(efs.SpaceFiles); n != 0 {
		t.Errorf("%d file records are left", n)
	}
}

func TestSymlinksAreMovedCopiedPatchedAndDeleted(t *testing.T) {
	e := newEnv(t, patients)
	in := must(e.Symlink(ctx, "plain/link", "../there", PutOptions{Mode: 0o777})).Entry
	must(e.Move(ctx, "plain/link", "plain/moved", MoveOptions{}))
	e.missing("plain/link")
	if got := e.leadsTo("plain/moved", "../there"); got.File != in.File || got.ETag != in.ETag {
		t.Errorf("moved: %+v", got)
	}
	// Into a unit, from one unit to another, and out again.
	for _, to := range []string{"patients/1/link", "patients/2/link", "plain/again"} {
		from := map[string]string{"patients/1/link": "plain/moved", "patients/2/link": "patients/1/link", "plain/again": "patients/2/link"}[to]
		_, err := e.Move(ctx, from, to, MoveOptions{})
		e.check(err)
		if got := e.leadsTo(to, "../there"); got.File != in.File || got.Version != in.Version {
			t.Errorf("%s: %+v", to, got)
		}
	}
	e.put("plain/file", data(3, blobSize))
	_, err := e.Mkdir(ctx, "plain/dir", MkdirOptions{Mode: 0o750, Modified: time.UnixMicro(5)})
	e.check(err)
	_, err = e.Copy(ctx, "plain", "patients/1/copy", CopyOptions{})
	e.check(err)
	e.leadsTo("patients/1/copy/again", "../there")
	e.holds("patients/1/copy/file", data(3, blobSize))
	if d := must(e.Stat(ctx, "patients/1/copy/dir")); d.Mode != 0o750 || d.Modified != 5 {
		t.Errorf("a copied directory: %+v", d)
	}
	_, err = e.Copy(ctx, "plain/again", "plain/file", CopyOptions{})
	e.refused("copying over a file", err, efs.ErrExists)
	_, err = e.Copy(ctx, "plain/again", "plain/file", CopyOptions{Overwrite: true})
	e.check(err)
	e.leadsTo("plain/file", "../there")
	mode := uint32(0o700)
	e.check1(e.Patch(ctx, "plain/file", PatchOptions{Mode: &mode, Meta: map[string]*string{"k": ptr("v")}}))
	if got := e.leadsTo("plain/file", "../there"); got.Mode != mode || got.Meta["k"] != "v" {
		t.Errorf("patched: %+v", got)
	}
	tooMuch := uint32(efs.MaxMode + 1)
	_, err = e.Patch(ctx, "plain/file", PatchOptions{Mode: &tooMuch})
	e.refused("a mode that there is not", err, efs.ErrBadInput)
	e.clean()
	e.reopen()
	e.leadsTo("patients/1/copy/again", "../there")
	e.check(e.Remove(ctx, "plain", RemoveOptions{Recursive: true}))
	e.check(e.Remove(ctx, "patients", RemoveOptions{Recursive: true}))
	e.idle()
	e.clean()
	if u := must(e.Usage(ctx)); u != (efs.Usage{}) {
		t.Errorf("nothing uses %+v", u)
	}
}

// A symlink that was there before its directory became a unit is sealed for
// the unit, with its file record, and forgotten with it.
func TestSymlinksBelongToTheirUnit(t *testing.T) {
	e := newEnv(t, signed)
	for i := range 3 {
		must(e.Symlink(ctx, fmt.Sprintf("patients/1/link%d", i), "secret-target", PutOptions{}))
	}
	e.converts("/patients/*")
	u := e.unitAt("patients/1")
	for i := range 3 {
		s := must(e.found(ctx, []string{"patients", "1", fmt.Sprintf("link%d", i)}))
		rec := must(e.o.Index.Get(ctx, efs.Key{Space: efs.SpaceFiles, Bytes: s.entry.File[:]}))[0]
		if of := must(e.unitOfRecord(rec.Sealed)); s.of.id() != u || of.id() != u {
			t.Errorf("link%d: entry of %v, file record of %v, want %v", i, s.of.id(), of.id(), u)
		}
	}
	r := e.forgetIt("patients/1")
	if r == nil {
		t.Fatal("no receipt")
	}
	e.missing("patients/1/link0")
	e.idle()
	e.clean()
}

// Names that an earlier version kept in order had no digests. They are made
// anew when a listing finds them.
func TestNamesOfAnEarlierFormAreMadeAnew(t *testing.T) {
	e := newEnv(t, tinyNames)
	for i := range 40 {
		e.put(fmt.Sprintf("d/%02d", i), data(uint64(i), 10))
	}
	e.namesIdle()
	dir, root := e.rootOf("d")
	if root == nil || len(root.Runs) == 0 {
		t.Fatal("the directory has no sorted names")
	}
	old := must(e.Stat(ctx, "d/07"))
	old.Digest, old.DigestKind = nil, 0
	value := must(encodeListed(&old))
	tx := e.begin(Who{})
	key := newChangeKey(dir)
	sealed := must(e.sealRecord(nil, efs.SpaceNames, key, appendItem(nil, "", item{"07", value})))
	tx.raw(efs.SpaceNames, key, sealed)
	must(tx.commit(ctx))
	for range 500 { // from the entries, until the names have been made anew
		page, _, err := e.List(ctx, "d", ListOptions{Limit: 40})
		e.check(err)
		for i := range page {
			if !bytes.Equal(page[i].Digest, digest(data(uint64(i), 10))) || page[i].Extents != nil {
				t.Fatalf("%s is listed with digest %x", page[i].Path, page[i].Digest)
			}
		}
		if _, ok, err := e.namesPage(ctx, dir, "", false, 40); ok && err == nil {
			e.clean()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the names were not made anew")
}
