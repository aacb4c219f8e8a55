package fsys

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

// alter writes a record behind the file system's back, as somebody who can
// write the volume would.
func (e *env) alter(key efs.Key, sealed []byte) {
	e.t.Helper()
	_, err := e.o.Index.Commit(ctx, &efs.Txn{Mutations: []efs.Mutation{{Key: key, Sealed: sealed}}})
	e.check(err)
}

func (e *env) record(key efs.Key) []byte {
	e.t.Helper()
	recs, err := e.o.Index.Get(ctx, key)
	e.check(err)
	return recs[0].Sealed
}

func (e *env) entryAt(path string) efs.Key {
	e.t.Helper()
	segs, err := ParsePath(path)
	e.check(err)
	s, err := e.locate(ctx, segs)
	e.check(err)
	return efs.Key{Space: efs.SpaceEntries, Bytes: s.key[:]}
}

func inlineKey(id efs.ID) efs.Key { return efs.Key{Space: efs.SpaceInline, Bytes: id[:]} }

// blobFile is where a blob lies on the volume.
func (e *env) blobFile(id efs.ID) string {
	e.t.Helper()
	var found string
	e.check(filepath.WalkDir(e.path("files"), func(p string, d os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), id.String()) {
			found = p
		}
		return err
	}))
	if found == "" {
		e.t.Fatalf("blob %s is nowhere", id)
	}
	return found
}

// damagedRead demands that reading path fail with ErrDamaged and deliver only
// bytes that were stored.
func (e *env) damagedRead(what, path string, want []byte) {
	e.t.Helper()
	got, err := e.read(path)
	if !errors.Is(err, efs.ErrDamaged) {
		e.t.Errorf("%s: %v, want ErrDamaged", what, err)
	}
	if !bytes.HasPrefix(want, got) {
		e.t.Errorf("%s: wrong bytes were delivered", what)
	}
}

// reports demands a problem of a kind in a deep check.
func (e *env) reports(what, kind string) {
	e.t.Helper()
	r, err := e.Fsck(ctx, FsckOptions{Deep: true})
	e.check(err)
	for _, p := range r.Problems {
		if p.Kind == kind && p.Detail != "" && p.Remedy != "" {
			return
		}
	}
	e.t.Errorf("%s: fsck reports %+v, want %s", what, r.Problems, kind)
}

func TestRecordsPutElsewhereAreRefused(t *testing.T) {
	e := newEnv(t)
	a, b := data(1, inlineSize), data(2, inlineSize)
	ea, eb := e.put("d/a", a).Entry, e.put("d/b", b).Entry
	ka, kb := e.entryAt("d/a"), e.entryAt("d/b")
	ra, rb := e.record(ka), e.record(kb)

	e.alter(ka, rb)
	_, err := e.Stat(ctx, "d/a")
	e.refused("one file's entry given to another", err, efs.ErrDamaged)
	_, _, err = e.List(ctx, "d", ListOptions{})
	e.refused("listing it", err, efs.ErrDamaged)
	e.reports("exchanged entry", ProblemEntry)
	e.alter(ka, ra)
	e.holds("d/a", a)

	ia, ib := inlineKey(ea.Extents[0].Content), inlineKey(eb.Extents[0].Content)
	sa, sb := e.record(ia), e.record(ib)
	e.alter(ia, sb)
	e.alter(ib, sa)
	e.damagedRead("exchanged inline contents", "d/a", nil)
	e.reports("exchanged inline contents", ProblemContent)
	e.alter(ia, sa)
	e.alter(ib, sb)

	fa, fb := efs.Key{Space: efs.SpaceFiles, Bytes: ea.File[:]}, efs.Key{Space: efs.SpaceFiles, Bytes: eb.File[:]}
	rfa := e.record(fa)
	e.alter(fa, e.record(fb))
	_, err = e.Resolve(ctx, ea.File)
	e.refused("one file's id record given to another", err, efs.ErrDamaged)
	e.reports("exchanged id record", ProblemFile)
	e.alter(fa, rfa)

	e.check(e.Remove(ctx, "d/b", RemoveOptions{}))
	e.idle()
	e.alter(kb, rb)
	e.damagedRead("a deleted entry put back", "d/b", nil)
	e.reports("a deleted entry put back", ProblemContent)
	e.alter(kb, nil)
	e.clean()
}

func TestPlacesPutElsewhereAreNoticed(t *testing.T) {
	e := newEnv(t)
	e.put("a/x/f", nil)
	e.put("b/y/f", nil)
	dir := func(path string) efs.Key {
		id := must(e.Stat(ctx, path)).File
		return efs.Key{Space: efs.SpacePlaces, Bytes: id[:]}
	}
	x, y := dir("a/x"), dir("b/y")
	rx := e.record(x)
	e.alter(x, e.record(y))
	_, err := e.Stat(ctx, "a/x/f")
	e.refused("another directory's place", err, efs.ErrDamaged)
	e.reports("another directory's place", ProblemPlace)
	e.alter(x, nil)
	_, err = e.Stat(ctx, "a/x/f")
	if err == nil {
		t.Error("a path through a directory without a place was followed")
	}
	e.reports("no place", ProblemPlace)
	e.alter(x, rx)
	e.holds("a/x/f", nil)
	e.clean()
}

func TestFlippedBytesInTheIndexAreRefused(t *testing.T) {
	e := newEnv(t)
	want := data(1, 100)
	entry := e.put("dir/f", want).Entry
	e.o.Anchor = nil // what is altered below is not to be anchored again and again
	for _, key := range []efs.Key{e.entryAt("dir/f"), e.entryAt("dir"), inlineKey(entry.Extents[0].Content)} {
		good := e.record(key)
		for i := 0; i < len(good); i += 1 + len(good)/150 {
			bad := bytes.Clone(good)
			bad[i] ^= 0x10
			e.alter(key, bad)
			e.paths.Drop("dir") // what a restart forgets
			e.damagedRead(fmt.Sprintf("byte %d of space %d", i, key.Space), "dir/f", want)
		}
		e.alter(key, good)
	}
	e.holds("dir/f", want)
}

func TestFlippedBytesInBlobsAreRefused(t *testing.T) {
	e := newEnv(t)
	want := data(1, 9000)
	id := e.put("f", want).Entry.Extents[0].Content
	e.idle()
	file := e.blobFile(id)
	good, err := os.ReadFile(file)
	e.check(err)
	for i := 0; i < len(good); i += 61 {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		e.check(os.WriteFile(file, bad, 0o600))
		e.damagedRead(fmt.Sprintf("byte %d of %d", i, len(good)), "f", want)
	}
	for _, n := range []int{0, 1, len(good) / 2, len(good) - 1} {
		e.check(os.WriteFile(file, good[:n], 0o600))
		e.damagedRead("cut off", "f", want)
	}
	e.check(os.WriteFile(file, append(bytes.Clone(good), 0), 0o600))
	e.damagedRead("extended", "f", want)
	e.reports("extended blob", ProblemContent)
	e.check(os.Remove(file))
	e.damagedRead("missing", "f", want)
	e.reports("missing blob", ProblemContent)
	e.check(os.WriteFile(file, good, 0o600))
	e.holds("f", want)
	e.clean()
}

func TestExchangedAndOldBlobsAreRefused(t *testing.T) {
	e := newEnv(t)
	a, b := data(1, blobSize), data(2, blobSize)
	ida := e.put("a", a).Entry.Extents[0].Content
	idb := e.put("b", b).Entry.Extents[0].Content
	e.idle()
	fa, fb := e.blobFile(ida), e.blobFile(idb)
	sa, err := os.ReadFile(fa)
	e.check(err)
	sb, err := os.ReadFile(fb)
	e.check(err)
	e.check(os.WriteFile(fa, sb, 0o600))
	e.check(os.WriteFile(fb, sa, 0o600))
	e.damagedRead("exchanged", "a", a)
	e.damagedRead("exchanged", "b", b)
	e.check(os.WriteFile(fa, sa, 0o600))
	e.check(os.WriteFile(fb, sb, 0o600))

	newer := data(3, blobSize)
	idc := e.put("a", newer).Entry.Extents[0].Content
	e.idle()
	e.check(os.WriteFile(e.blobFile(idc), sa, 0o600))
	e.damagedRead("old version under the new name", "a", newer)
	e.reports("old version under the new name", ProblemContent)
}

func TestFsckFindsOrphansAndRepairs(t *testing.T) {
	e := newEnv(t)
	id := e.put("a", data(1, blobSize)).Entry.Extents[0].Content
	e.put("b", data(2, inlineSize))
	e.idle()
	e.alter(e.entryAt("a"), nil) // the entry is lost, the blob stays
	e.alter(inlineKey(efs.NewTimeID()), []byte("garbage"))
	r, err := e.Fsck(ctx, FsckOptions{})
	e.check(err)
	kinds := map[string]int{}
	for _, p := range r.Problems {
		kinds[p.Kind]++
	}
	for _, k := range []string{ProblemOrphan, ProblemFile, ProblemInline, ProblemUsage} {
		if kinds[k] != 1 {
			t.Errorf("%d problems of kind %s in %+v", kinds[k], k, r.Problems)
		}
	}
	_, err = e.Fsck(ctx, FsckOptions{Repair: true})
	e.check(err)
	if _, err := e.o.Blobs.Open(ctx, id); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("an orphan was not quarantined: %v", err)
	}
	r, err = e.Fsck(ctx, FsckOptions{})
	e.check(err)
	for _, p := range r.Problems {
		if p.Kind == ProblemOrphan || p.Kind == ProblemUsage {
			t.Errorf("after repair: %+v", p)
		}
	}
	e.holds("b", data(2, inlineSize))
}

func TestFsckFindsCirclesAndAlteredChanges(t *testing.T) {
	e := newEnv(t)
	e.put("a/b/f", nil)
	a, b := must(e.Stat(ctx, "a")), must(e.Stat(ctx, "a/b"))
	key := must(e.FS.entryKey(tokens{}, b.File, "a"))
	tx := e.begin(Who{})
	tx.delete(efs.SpaceEntries, e.entryAt("a").Bytes)
	tx.hang(nil, &key, &a, false)
	_, err := tx.commit(ctx)
	e.check(err)
	e.reports("circle", ProblemPlace)
	_, err = e.Resolve(ctx, a.File)
	e.refused("resolving in a circle", err, efs.ErrDamaged)
	_, err = e.o.Index.Commit(ctx, &efs.Txn{Changes: [][]byte{[]byte("forged")}})
	e.check(err)
	e.reports("forged change", ProblemChain)
	h, err := e.Head(ctx)
	e.check(err)
	_, err = e.Changes(ctx, h.Seq-1, 1)
	e.refused("forged change", err, efs.ErrDamaged)
}
