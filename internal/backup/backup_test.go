package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/index/bolt"
	"github.com/efs-project/efs/internal/index/indextest"
	"github.com/efs-project/efs/internal/journal"
	"golang.org/x/sys/unix"
)

var (
	key    = bytes.Repeat([]byte{3}, 32)
	sealer = indextest.Sealer("backup")
)

// world is a store of blobs and an index, as a file system has them.
type world struct {
	*testing.T
	index *bolt.Index
	blobs *dir.Store
	have  map[efs.ID]int64
	dir   string
	clock time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, have: map[efs.ID]int64{}, dir: filepath.Join(t.TempDir(), "backups"), clock: time.Date(2026, 5, 4, 3, 15, 0, 0, time.UTC)}
	var err error
	w.index, err = bolt.Create(filepath.Join(t.TempDir(), "index.db"), indextest.FS, sealer, bolt.Options{})
	w.check(err)
	w.blobs, err = dir.Create(filepath.Join(t.TempDir(), "files"), dir.Options{})
	w.check(err)
	t.Cleanup(func() { w.check(errors.Join(w.index.Close(), w.blobs.Close())) })
	return w
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) store(n int) (id efs.ID) {
	w.Helper()
	id = efs.NewID()
	b, err := w.blobs.Create(w.Context(), id)
	w.check(err)
	_, err = b.Write(bytes.Repeat([]byte{1}, n))
	w.check(err)
	w.check(b.Commit())
	_, err = w.index.Commit(w.Context(), &efs.Txn{Changes: [][]byte{[]byte("c")}, Mutations: []efs.Mutation{{Key: efs.Key{Space: efs.SpaceEntries, Bytes: id[:]}, Sealed: []byte("entry")}}})
	w.check(err)
	w.have[id] = int64(n)
	return id
}

func (w *world) delete(id efs.ID) {
	w.Helper()
	w.check(w.blobs.Remove(w.Context(), id))
	delete(w.have, id)
}

// source is the world as of now.
type source struct {
	efs.IndexSnapshot
	have map[efs.ID]int64
}

func (s source) Index() efs.IndexSnapshot { return s.IndexSnapshot }

func (s source) Contents(_ context.Context, fn func(efs.ID, bool, int64) error) error {
	for id, n := range s.have {
		if err := fn(id, false, n); err != nil {
			return err
		}
	}
	return fn(efs.NewID(), true, 10)
}

func (s source) Usages(context.Context) (map[efs.ID]efs.Usage, error) {
	return map[efs.ID]efs.Usage{indextest.FS: {Bytes: 77, Files: int64(len(s.have))}}, nil
}

func (w *world) job() Job {
	w.Helper()
	s, err := w.index.Snapshot(w.Context())
	w.check(err)
	w.Cleanup(func() { _ = s.Close() })
	return Job{Source: source{s, w.have}, Blobs: w.blobs, Key: key, Now: func() time.Time { w.clock = w.clock.Add(24 * time.Hour); return w.clock }}
}

func (w *world) repo() *Repository {
	w.Helper()
	r, err := Create(w.dir, About{FS: indextest.FS, Name: "test", Created: w.clock})
	w.check(err)
	w.Cleanup(func() { _ = r.Close() })
	return r
}

func (w *world) backUp(r *Repository) Manifest {
	w.Helper()
	m, err := r.Make(w.Context(), w.job())
	w.check(err)
	return m
}

// whole reads a backup: its contents into a store, its index.
func (w *world) whole(r *Repository, m Manifest, contents int) {
	w.Helper()
	to, err := dir.Create(filepath.Join(w.TempDir(), "files"), dir.Options{})
	w.check(err)
	defer to.Close()
	lost, err := r.CopyContents(w.Context(), m, to, false, nil)
	w.check(err)
	n := 0
	w.check(to.Walk(w.Context(), func(efs.BlobInfo) error { n++; return nil }))
	if n != contents || lost != 0 {
		w.Errorf("backup %s has %d contents, %d are lost; want %d", m.Name, n, lost, contents)
	}
	rep, err := r.ReadIndex(m, key, &journal.Visitor{})
	w.check(err)
	if !rep.Complete || rep.Seq != m.Sequence {
		w.Errorf("index of backup %s: %+v", m.Name, rep)
	}
}

func TestBackupsAreIncremental(t *testing.T) {
	w := newWorld(t)
	r := w.repo()
	a := w.store(5000)
	w.store(70_000)
	first := w.backUp(r)
	if first.Contents != 2 || first.Copied != 2 || first.ContentBytes != 75_000 || first.Bytes != 77 {
		t.Errorf("the first is %+v", first)
	}
	w.delete(a)
	w.store(300)
	second := w.backUp(r)
	if second.Contents != 2 || second.Copied != 1 || second.CopiedBytes != 300 || second.Sequence != 3 {
		t.Errorf("the second is %+v", second)
	}
	w.whole(r, first, 2)
	w.whole(r, second, 2)
	if _, err := r.Prune(t.Context(), 0); !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("keeping none: %v", err)
	}
	p, err := r.Prune(t.Context(), 1)
	w.check(err)
	if len(p.Backups) != 1 || p.Backups[0] != first.Name || p.Contents != 1 || p.Bytes != 5000 {
		t.Errorf("pruned %+v", p)
	}
	w.whole(r, second, 2)
	if all, err := r.List(); err != nil || len(all) != 1 || all[0].Name != second.Name {
		t.Errorf("left are %v, %v", all, err)
	}
}

func TestWhatIsLostAtTheSourceIsCounted(t *testing.T) {
	w := newWorld(t)
	w.store(500)
	w.check(w.blobs.Remove(t.Context(), w.store(600)))
	m := w.backUp(w.repo())
	if m.Lost != 1 || m.Copied != 1 {
		t.Errorf("%+v", m)
	}
}

// A backup that fails, or is cut off, is not there; what it copied is used by
// the next.
func TestACutOffBackupIsNotThere(t *testing.T) {
	w := newWorld(t)
	for range 10 {
		w.store(1000)
	}
	r := w.repo()
	j := w.job()
	ctx, cancel := context.WithCancel(t.Context())
	j.Progress = func(done, total int64) {
		if done == total {
			cancel() // all is copied, the manifest is not written
		}
	}
	if _, err := r.Make(ctx, j); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	if all, err := r.List(); err != nil || len(all) != 0 {
		t.Errorf("listed are %v, %v", all, err)
	}
	// What a crash leaves besides.
	for _, name := range []string{"20260504T031500Z-5.index", "20260504T031500Z-5.contents.part"} {
		w.check(os.WriteFile(r.path(indexDir, name), []byte("half"), 0o600))
	}
	m := w.backUp(r)
	w.whole(r, m, 10)
	names, err := os.ReadDir(r.path(indexDir))
	w.check(err)
	if len(names) != 2 {
		t.Errorf("in the directory of indexes are %v", names)
	}
}

func TestABackupIsFound(t *testing.T) {
	w := newWorld(t)
	r := w.repo()
	if _, err := r.Find(""); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("among none: %v", err)
	}
	var all []Manifest
	for range 3 {
		w.store(10)
		all = append(all, w.backUp(r))
	}
	for which, want := range map[string]int{
		"": 2, all[1].Name: 1, "2": 1, all[0].Name[:15]: 0,
		all[1].Begun.Format(time.RFC3339): 1, all[1].Begun.Format(time.DateOnly): 1, "2099-01-01": 2,
	} {
		if m, err := r.Find(which); err != nil || m.Name != all[want].Name {
			t.Errorf("%q: %s, %v; want %s", which, m.Name, err, all[want].Name)
		}
	}
	for _, which := range []string{"1999-01-01", "17", "x", "../../etc/passwd"} {
		if m, err := r.Find(which); !errors.Is(err, efs.ErrNotFound) {
			t.Errorf("%q: %s, %v", which, m.Name, err)
		}
	}
}

// The newest backup is the one that was made last, though the clock was put
// back before it: else --keep would remove it.
func TestTheNewestBackupIsTheLastWhateverTheClockSays(t *testing.T) {
	w := newWorld(t)
	r := w.repo()
	w.store(10)
	w.backUp(r)
	w.clock = w.clock.Add(-48 * time.Hour)
	w.store(10)
	last := w.backUp(r)
	if m, err := r.Find(""); err != nil || m.Name != last.Name {
		t.Errorf("the newest is %s, %v; want %s", m.Name, err, last.Name)
	}
	if _, err := r.Prune(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	w.whole(r, last, 2)
}

func TestDirectoriesThatAreRefused(t *testing.T) {
	w := newWorld(t)
	r := w.repo()
	w.store(10)
	m := w.backUp(r)
	if _, err := Open(w.dir); !errors.Is(err, efs.ErrUnavailable) {
		t.Errorf("one in use: %v", err)
	}
	if all, err := List(w.dir); err != nil || len(all) != 1 {
		t.Errorf("listing one in use: %v, %v", all, err)
	}
	if _, err := List(t.TempDir()); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("listing an empty one: %v", err)
	}
	w.check(r.Close())
	if _, err := Create(w.dir, About{FS: efs.NewID(), Name: "other"}); !errors.Is(err, efs.ErrConflict) {
		t.Errorf("another file system's: %v", err)
	}
	begun := filepath.Join(t.TempDir(), "begun")
	w.check(os.Mkdir(begun, 0o700))
	lock, err := os.Create(filepath.Join(begun, "lock"))
	w.check(err)
	defer lock.Close()
	w.check(unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	if _, err := Create(begun, About{FS: indextest.FS, Name: "test"}); !errors.Is(err, efs.ErrUnavailable) {
		t.Errorf("one that somebody else begins: %v", err)
	}
	if names, err := os.ReadDir(begun); err != nil || len(names) != 1 {
		t.Errorf("and something was made there: %v, %v", names, err)
	}
	used := t.TempDir()
	w.check(os.WriteFile(filepath.Join(used, "file"), nil, 0o600))
	if _, err := Create(used, About{FS: indextest.FS, Name: "test"}); !errors.Is(err, efs.ErrExists) {
		t.Errorf("one with other files: %v", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("an empty one: %v", err)
	}
	if _, err := Create("relative", About{}); !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("a relative path: %v", err)
	}
	rewrite(t, filepath.Join(w.dir, backupsDir, m.Name+".json"), `"format": 1`, `"format": 2`)
	r, err = Open(w.dir)
	w.check(err)
	if _, err := r.List(); !errors.Is(err, efs.ErrUnsupported) {
		t.Errorf("a manifest of a later format: %v", err)
	}
	w.check(r.Close())
	about := filepath.Join(w.dir, aboutFile)
	rewrite(t, about, `"name": "test"`, `"name": "../test"`)
	if _, err := Open(w.dir); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("a name that leads out of the root: %v", err)
	}
	rewrite(t, about, `"name": "../test"`, `"name": "test"`)
	rewrite(t, about, `"format": 1`, `"format": 2`)
	if _, err := Open(w.dir); !errors.Is(err, efs.ErrUnsupported) {
		t.Errorf("one of a later format: %v", err)
	}
}

func rewrite(t *testing.T, path, from, to string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), from) {
		t.Fatalf("%s: %v", b, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAlteredBackupsAreRefused(t *testing.T) {
	w := newWorld(t)
	r := w.repo()
	w.store(10)
	first := w.backUp(r)
	w.store(10)
	m := w.backUp(r)
	to, err := dir.Create(filepath.Join(t.TempDir(), "files"), dir.Options{})
	w.check(err)
	defer to.Close()
	if _, err := r.ReadIndex(m, bytes.Repeat([]byte{4}, 32), &journal.Visitor{}); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("with another key: %v", err)
	}
	good, err := os.ReadFile(r.indexPath(m.Name))
	w.check(err)
	for name, bad := range map[string][]byte{"cut": good[:len(good)-9], "altered": flip(good, len(good)/2), "empty": nil} {
		w.check(os.WriteFile(r.indexPath(m.Name), bad, 0o600))
		if _, err := r.ReadIndex(m, key, &journal.Visitor{}); !errors.Is(err, efs.ErrDamaged) {
			t.Errorf("an index that is %s: %v", name, err)
		}
	}
	older, err := os.ReadFile(r.indexPath(first.Name))
	w.check(err)
	w.check(os.WriteFile(r.indexPath(m.Name), older, 0o600))
	if _, err := r.ReadIndex(m, key, &journal.Visitor{}); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("the index of another backup: %v", err)
	}
	list, err := os.ReadFile(r.listPath(m.Name))
	w.check(err)
	for name, bad := range map[string][]byte{"cut": list[:len(list)-1], "shorter": list[:len(list)-24], "altered": flip(list, 20), "empty": nil} {
		w.check(os.WriteFile(r.listPath(m.Name), bad, 0o600))
		if _, err := r.CopyContents(t.Context(), m, to, false, nil); !errors.Is(err, efs.ErrDamaged) {
			t.Errorf("a list that is %s: %v", name, err)
		}
	}
	b, err := json.Marshal(m)
	w.check(err)
	w.check(os.WriteFile(r.path(backupsDir, "20990101T000000Z-9.json"), b, 0o600))
	if _, err := r.List(); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("a manifest under another name: %v", err)
	}
}

func flip(b []byte, at int) []byte {
	c := bytes.Clone(b)
	c[at] ^= 1
	return c
}

// TestExamples opens backups that earlier versions made; testdata/README tells
// of what.
func TestExamples(t *testing.T) {
	for _, version := range []string{"v1"} {
		path := filepath.Join(t.TempDir(), version)
		if err := os.CopyFS(path, os.DirFS(filepath.Join("testdata", version))); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{T: t}
		all, err := r.List()
		if err != nil || len(all) != 2 {
			t.Fatalf("%s: %v, %v", version, all, err)
		}
		w.whole(r, all[0], 2)
		w.whole(r, all[1], 2)
		if s := fmt.Sprint(all[1].Sequence, all[1].Copied, all[1].Bytes, all[1].Usage[indextest.FS]); s != "3 1 77 {77 2}" {
			t.Errorf("%s: %s", version, s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A manifest that is damaged keeps nobody from the other backups.
func TestADamagedManifestIsInNobodysWay(t *testing.T) {
	w := newWorld(t)
	r := w.repo()
	w.store(10)
	first := w.backUp(r)
	w.store(20)
	second := w.backUp(r)
	w.check(os.WriteFile(filepath.Join(w.dir, backupsDir, second.Name+".json"), []byte("{"), 0o600))
	if _, err := r.Find(""); !errors.Is(err, efs.ErrDamaged) || !strings.Contains(err.Error(), second.Name) {
		t.Errorf("the newest: %v", err)
	}
	m, err := r.Find(first.Name)
	w.check(err)
	w.whole(r, m, 1)
}
