package bolt

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/indextest"
	"go.etcd.io/bbolt"
)

// tiny are options under which every few operations cross from one generation
// to the next, and into the file.
var tiny = Options{Segment: 7 * recordAlign, Quiet: 5 * time.Millisecond}

func TestConformanceOverManyGenerations(t *testing.T) {
	for name, o := range map[string]Options{"tiny": tiny, "unlogged": unlogged} {
		t.Run(name, func(t *testing.T) {
			indextest.Run(t, func(t *testing.T) indextest.Opener {
				path := filepath.Join(t.TempDir(), "index.db")
				return func() (efs.Index, error) {
					x, err := Open(path, indextest.FS, sealer, o)
					if errors.Is(err, efs.ErrNotFound) {
						return Create(path, indextest.FS, sealer, o)
					}
					return x, err
				}
			})
		})
	}
}

// crashed makes an index whose log holds n transactions, as a process that
// was killed leaves it: copies of its files.
func crashed(t *testing.T, n int) (path string) {
	t.Helper()
	x, _, from := faulty(t)
	for i := range n {
		mustCommit(t, x, &efs.Txn{Changes: [][]byte{[]byte("c")}, Mutations: []efs.Mutation{record1(fmt.Sprint(i), 100)}})
	}
	return copied(t, from)
}

// copied copies the files of an index as they are.
func copied(t *testing.T, from string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "index.db")
	names, err := filepath.Glob(from + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+strings.TrimPrefix(name, from), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// holds checks that exactly the first n transactions of crashed are there, and
// go on.
func holds(t *testing.T, path string, n int) {
	t.Helper()
	for range 2 { // from the log, then from the file
		x, err := Open(path, indextest.FS, sealer, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := x.Scan(t.Context(), efs.SpaceEntries, nil, nil, 1000)
		if err != nil || len(r) != n {
			t.Errorf("%d records (%v), want %d", len(r), err, n)
		}
		if h, err := x.Head(t.Context()); err != nil || h.Seq != uint64(n) {
			t.Errorf("head at %d (%v), want %d", h.Seq, err, n)
		}
		checkChain(t, x, uint64(n))
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLogIsReplayed(t *testing.T) { holds(t, crashed(t, 20), 20) }

// segment changes the bytes of a segment.
func segment(t *testing.T, path string, i int, edit func(b []byte) []byte) {
	t.Helper()
	path = segmentPath(path, i)
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, edit(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTornRecord cuts the last record, which may never have been confirmed.
func TestTornRecord(t *testing.T) {
	const n = 5
	for name, edit := range map[string]func(last []byte){
		"flipped in the header": func(b []byte) { b[17] ^= 1 },
		"flipped in the body":   func(b []byte) { b[recordHeader+10] ^= 1 },
		"not written":           func(b []byte) { clear(b) },
		"length":                func(b []byte) { b[12] = 0xff },
		"begun":                 func(b []byte) { clear(b[200:]) },
	} {
		t.Run(name, func(t *testing.T) {
			path := crashed(t, n)
			segment(t, path, 0, func(b []byte) []byte {
				edit(b[(n-1)*recordAlign : n*recordAlign])
				return b
			})
			holds(t, path, n-1)
		})
	}
}

// TestDamagedLog damages the log where records behind show that something
// confirmed is missing. Nothing is changed by the attempt.
func TestDamagedLog(t *testing.T) {
	const n = 5
	for name, c := range map[string]struct {
		edit func(b []byte) []byte
		says string
	}{
		"flipped": {func(b []byte) []byte { b[2*recordAlign+100] ^= 1; return b }, "record 3 of the index's log"},
		"first":   {func(b []byte) []byte { clear(b[:recordAlign]); return b }, "record 1 of the index's log"},
		"swapped revisions": {func(b []byte) []byte {
			m, length, _ := openRecord(b[recordAlign:])
			m.before++
			closeRecord(b[recordAlign:recordAlign+length], m)
			return b
		}, "record 2 of the index's log"},
		"unknown bucket": {func(b []byte) []byte {
			m, length, _ := openRecord(b[recordAlign:])
			b[recordAlign+recordHeader+6] = 200
			closeRecord(b[recordAlign:recordAlign+length], m)
			return b
		}, "makes no sense"},
		"operations that are not there": {func(b []byte) []byte {
			m, length, _ := openRecord(b[recordAlign:])
			m.ops++
			closeRecord(b[recordAlign:recordAlign+length], m)
			return b
		}, "makes no sense"},
		"not a head": {func(b []byte) []byte {
			at := (n - 1) * recordAlign
			m, length, _ := openRecord(b[at:])
			b[at+length-1] ^= 1
			closeRecord(b[at:at+length], m)
			return b
		}, "head does not open"},
	} {
		t.Run(name, func(t *testing.T) {
			path := crashed(t, n)
			segment(t, path, 0, c.edit)
			before := contents(t, path)
			refused(t, path, efs.ErrDamaged, c.says)
			if !bytes.Equal(before, contents(t, path)) {
				t.Error("the files were changed")
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		path := crashed(t, n)
		if err := os.Remove(segmentPath(path, 0)); err != nil {
			t.Fatal(err)
		}
		refused(t, path, efs.ErrDamaged, "log is missing")
	})
}

func contents(t *testing.T, path string) (all []byte) {
	t.Helper()
	names, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, name...), b...)
	}
	return all
}

// TestOldSegmentsAreNotTaken puts back a file that was closed before the
// records in the segments were written.
func TestOldSegmentsAreNotTaken(t *testing.T) {
	x, _, path := faulty(t)
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("old", 1)}})
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if x, err = Open(path, indextest.FS, sealer, Options{}); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("new", 1)}})
	killed := copied(t, path)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(killed, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if x, err = Open(killed, indextest.FS, sealer, Options{}); err != nil {
		t.Fatal(err)
	}
	r, err := x.Scan(t.Context(), efs.SpaceEntries, nil, nil, 10)
	if err != nil || len(r) != 1 {
		t.Errorf("%v (%v), want the old record alone", r, err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

// TestCrashAtEveryStep copies the files at each step that changes the volume,
// as a power cut would leave them, opens the copy, and looks for all that had
// been confirmed by then.
func TestCrashAtEveryStep(t *testing.T) {
	type image struct {
		path, step string
		confirmed  int
	}
	var mu sync.Mutex
	var images []image
	confirmed := 0
	path := filepath.Join(t.TempDir(), "index.db")
	o := tiny
	o.Reserve = 1 << 20
	o.Fault = func(step string) error {
		mu.Lock()
		defer mu.Unlock()
		if confirmed%3 == 0 || step != "log write" && step != "log sync" {
			n := confirmed // before the copy is made
			images = append(images, image{copied(t, path), step, n})
		}
		return nil
	}
	if _, err := os.Create(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	x, err := Create(path, indextest.FS, sealer, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		if i%10 == 9 {
			time.Sleep(3 * tiny.Quiet)
		}
		mustCommit(t, x, &efs.Txn{Changes: [][]byte{[]byte("c")}, Mutations: []efs.Mutation{record1(fmt.Sprintf("%03d", i), 3000)}})
		mu.Lock()
		confirmed++
		mu.Unlock()
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, im := range images {
		seen[im.step]++
		y, err := Open(im.path, indextest.FS, sealer, Options{Reserve: 1 << 20})
		if err != nil {
			t.Fatalf("at %q after %d: %v", im.step, im.confirmed, err)
		}
		r, err := y.Scan(t.Context(), efs.SpaceEntries, nil, nil, 1000)
		if err != nil || len(r) < im.confirmed || len(r) > im.confirmed+1 {
			t.Errorf("at %q: %d records (%v), %d were confirmed", im.step, len(r), err, im.confirmed)
		}
		if len(r) > 0 {
			checkChain(t, y, uint64(len(r)))
		}
		if err := y.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, step := range []string{"grow", "commit", "flush", "log create", "log write", "log sync"} {
		if seen[step] == 0 {
			t.Errorf("never came to %q", step)
		}
	}
}

// TestLogFailureIsFinal fails each step of the log and of the flusher.
func TestLogFailureIsFinal(t *testing.T) {
	for _, step := range []string{"log create", "log write", "log sync"} {
		t.Run(step, func(t *testing.T) {
			x, f, path := faultyWith(t, Options{Segment: tiny.Segment, Quiet: time.Hour})
			mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("before", 1)}})
			f.m.Store(step, syscall.EIO)
			var err error
			for range 4 { // so that a second segment is needed
				if _, err = x.Commit(t.Context(), &efs.Txn{Mutations: []efs.Mutation{record1("after", 9000)}}); err != nil {
					break
				}
			}
			stopped(t, x, path, err)
		})
	}
	t.Run("log sync and log revoke", func(t *testing.T) {
		x, f, path := faulty(t)
		mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("before", 1)}})
		f.m.Store("log sync", syscall.EIO)
		f.m.Store("log revoke", syscall.EIO)
		_, err := x.Commit(t.Context(), &efs.Txn{Mutations: []efs.Mutation{record1("after", 1)}})
		if r, err := x.Get(t.Context(), record1("after", 1).Key); err != nil || r[0].Version == 0 {
			t.Errorf("denied what the next start will find: %v", err)
		}
		f.m.Clear() // the next start works
		stopped(t, x, path, err)
	})
	t.Run("flush", func(t *testing.T) {
		x, f, path := faulty(t)
		mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("before", 1)}})
		f.m.Store("flush", syscall.EIO)
		if err := x.Close(); !errors.Is(err, efs.ErrStopped) {
			t.Errorf("close: %v", err)
		}
		x, err := Open(path, indextest.FS, sealer, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := x.Get(t.Context(), record1("before", 1).Key); err != nil || r[0].Version == 0 {
			t.Errorf("%v (%v)", r, err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestNoRoomForTheLog commits without a log where its segments cannot be made,
// and with one when there is room again.
func TestNoRoomForTheLog(t *testing.T) {
	x, f, path := faulty(t)
	f.m.Store("log create", syscall.ENOSPC)
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("direct", 1)}})
	if s := x.Stats(); s.LogBytes != 0 {
		t.Errorf("a log of %d bytes", s.LogBytes)
	}
	f.m.Delete("log create")
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("logged", 1)}})
	if s := x.Stats(); s.LogBytes != firstSegment || s.PendingBytes != recordAlign {
		t.Errorf("a log of %d bytes, %d in use", s.LogBytes, s.PendingBytes)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	x, err := Open(path, indextest.FS, sealer, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := x.Scan(t.Context(), efs.SpaceEntries, nil, nil, 10); err != nil || len(r) != 2 {
		t.Errorf("%v (%v)", r, err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

// TestReadersSeeNothingUnsynced holds the sync of a commit back.
func TestReadersSeeNothingUnsynced(t *testing.T) {
	for name, step := range map[string]string{"logged": "log sync", "direct": "sync"} {
		t.Run(name, func(t *testing.T) {
			held, goOn := make(chan struct{}), make(chan struct{})
			var armed sync.Once
			arm := false
			x, err := Create(filepath.Join(t.TempDir(), "index.db"), indextest.FS, sealer, Options{Reserve: 1 << 20, Fault: func(s string) error {
				if arm && s == step {
					armed.Do(func() { close(held); <-goOn })
				}
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("k", 1)}})
			arm = true
			size := 1
			if name == "direct" {
				size = 8 << 20
			}
			done := make(chan error, 1)
			go func() {
				_, err := x.Commit(t.Context(), &efs.Txn{Mutations: []efs.Mutation{record1("later", size)}})
				done <- err
			}()
			<-held
			if r, err := x.Get(t.Context(), record1("later", 1).Key); err != nil || r[0].Version != 0 {
				t.Errorf("seen before it is durable: version %d (%v)", r[0].Version, err)
			}
			close(goOn)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if r, err := x.Get(t.Context(), record1("later", 1).Key); err != nil || r[0].Version == 0 {
				t.Errorf("not seen afterwards (%v)", err)
			}
		})
	}
}

// TestIdleIndexHasAnEmptyLog waits for the flusher.
func TestIdleIndexHasAnEmptyLog(t *testing.T) {
	x, _, path := faultyWith(t, Options{Quiet: time.Millisecond})
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("k", 1)}})
	for x.Stats().PendingBytes != 0 {
		time.Sleep(time.Millisecond)
	}
	x.gate.Lock()
	for _, g := range x.spare {
		if g.data != nil {
			t.Error("an idle generation keeps its memory")
		}
	}
	x.gate.Unlock()
	found := false
	err := x.store.db.View(func(tx *bbolt.Tx) error {
		found = tx.Bucket(names[efs.SpaceEntries]).Get([]byte("k")) != nil
		return nil
	})
	if err != nil || !found {
		t.Errorf("not in the file (%v)", err)
	}
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("again", 1)}})
	_ = path
}

// TestOpensFormat1 opens an index that was made before there was a log.
func TestOpensFormat1(t *testing.T) {
	f, err := os.Open("testdata/format1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "index.db")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	format := func() (v byte) {
		edit(t, path, func(tx *bbolt.Tx) error {
			b := tx.Bucket(names[bucketMeta]).Get(metaFormat)
			v = b[len(b)-1]
			return nil
		})
		return v
	}
	x, err := Open(path, indextest.FS, sealer, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := x.Get(t.Context(), record1("two", 1).Key); err != nil || r[0].Version != 2 {
		t.Errorf("%v (%v)", r, err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if v := format(); v != 1 {
		t.Errorf("reading made it format %d", v)
	}
	if x, err = Open(path, indextest.FS, sealer, Options{}); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, x, &efs.Txn{Changes: [][]byte{[]byte("four")}, Mutations: []efs.Mutation{record1("four", 1)}})
	killed := copied(t, path)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if v := format(); v != formatVersion {
		t.Errorf("written, it has format %d", v)
	}
	if x, err = Open(killed, indextest.FS, sealer, Options{}); err != nil {
		t.Fatal(err)
	}
	checkChain(t, x, 4)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestGenerationsOfAllSizes commits what needs a longer segment than there is,
// less than the longest one, and more.
func TestGenerationsOfAllSizes(t *testing.T) {
	x, f, path := faultyWith(t, Options{CompactAbove: 1 << 40})
	most := 0
	for i, size := range []int{1, 300 << 10, 3 << 20, 5 << 20, defaultSegment - 20000} {
		mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1(fmt.Sprint(i), size)}})
		many := &efs.Txn{}
		most += 2 + 10000/(i+1)
		for j := range 10000 / (i + 1) {
			many.Mutations = append(many.Mutations, record1(fmt.Sprint("many", i, j), 10))
		}
		mustCommit(t, x, many)
		f.m.Store("grow", syscall.ENOSPC) // an activated generation that stays empty
		for range 2 {                     // stuck, as records lie beside one of 20 MiB
			_, err := x.Commit(t.Context(), &efs.Txn{Mutations: []efs.Mutation{record1("full", 20<<20)}})
			if err != nil && !errors.Is(err, efs.ErrNoSpace) {
				t.Error(err)
			}
		}
		f.m.Delete("grow")
		for x.Stats().PendingBytes != 0 {
			time.Sleep(time.Millisecond)
		}
	}
	killed := copied(t, path)
	for _, path := range []string{path, killed} {
		if path != killed {
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
		}
		x, err := Open(path, indextest.FS, sealer, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := x.Scan(t.Context(), efs.SpaceEntries, nil, nil, 1<<20)
		if err != nil || len(r) < most-5 || len(r) > most-4 {
			t.Errorf("%d records (%v)", len(r), err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}
