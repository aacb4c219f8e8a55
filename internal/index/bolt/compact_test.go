package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/indextest"
)

// sparse makes an index most of whose file is free, and whose records 0 to 99
// are left.
func sparse(t *testing.T, x *Index) {
	t.Helper()
	const n = 1000
	for i := 0; i < n; i += 100 {
		txn := &efs.Txn{}
		for j := i; j < i+100; j++ {
			txn.Mutations = append(txn.Mutations, record1(fmt.Sprintf("%04d", j), 3000))
		}
		mustCommit(t, x, txn)
	}
	txn := &efs.Txn{Changes: [][]byte{[]byte("c")}}
	for j := 100; j < n; j++ {
		txn.Mutations = append(txn.Mutations, efs.Mutation{Key: record1(fmt.Sprintf("%04d", j), 0).Key})
	}
	mustCommit(t, x, txn)
	for x.Stats().PendingBytes != 0 {
		time.Sleep(time.Millisecond)
	}
}

// underLoad commits from several writers until it is stopped, and then checks that
// all of it is there, and the records of sparse.
func underLoad(t *testing.T, x *Index) (stop func()) {
	t.Helper()
	ended := make(chan struct{})
	var wg sync.WaitGroup
	var made [4]int
	for w := range made {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-ended:
					return
				default:
				}
				txn := &efs.Txn{
					Mutations: []efs.Mutation{record1(fmt.Sprintf("w%d-%06d", w, i), 500), record1(fmt.Sprintf("%04d", (i*37+w)%100), 3000)},
					Changes:   [][]byte{[]byte("c")},
				}
				if i >= 10 { // ten are left of each writer
					txn.Mutations = append(txn.Mutations, efs.Mutation{Key: record1(fmt.Sprintf("w%d-%06d", w, i-10), 0).Key})
				}
				if _, err := x.Commit(t.Context(), txn); err != nil {
					t.Error(err)
					return
				}
				made[w] = i + 1
			}
		})
	}
	return func() {
		t.Helper()
		close(ended)
		wg.Wait()
		want := 100
		for _, n := range made {
			want += min(n, 10)
			if n == 0 {
				t.Error("a writer has made nothing")
			}
		}
		checkSparse(t, x, want, want)
	}
}

func checkSparse(t *testing.T, x *Index, least, most int) {
	t.Helper()
	r, err := x.Scan(t.Context(), efs.SpaceEntries, nil, nil, 10000)
	if err != nil || len(r) < least || len(r) > most {
		t.Errorf("%d records (%v), want %d to %d", len(r), err, least, most)
	}
	h, err := x.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkChain(t, x, h.Seq)
}

func TestCompactUnderLoad(t *testing.T) {
	for name, o := range map[string]Options{"default": {}, "tiny": tiny, "unlogged": unlogged} {
		t.Run(name, func(t *testing.T) {
			x, _, path := faultyWith(t, o)
			sparse(t, x)
			before := x.current().room.used.Load()
			stop := underLoad(t, x)
			for range 3 {
				if err := x.Compact(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			stop()
			if n, used := x.Stats().Compactions, x.current().room.used.Load(); n != 3 || used >= before {
				t.Errorf("%d compactions, %d bytes are in use of %d", n, used, before)
			}
			killed := copied(t, path)
			for _, path := range []string{killed, path} {
				if path != killed {
					if err := x.Close(); err != nil {
						t.Fatal(err)
					}
				}
				y, err := Open(path, indextest.FS, sealer, o)
				if err != nil {
					t.Fatal(err)
				}
				checkSparse(t, y, 140, 140)
				if err := y.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestCompactsByItself waits for a compaction that nobody asked for.
func TestCompactsByItself(t *testing.T) {
	o := tiny
	o.CompactAbove = 1 << 20
	x, _, _ := faultyWith(t, o)
	sparse(t, x)
	for i := 0; x.Stats().Compactions == 0; i++ {
		mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("0000", 3000)}})
		time.Sleep(time.Millisecond)
	}
	checkSparse(t, x, 100, 100)
}

func TestCompactFails(t *testing.T) {
	for _, step := range []string{"compact", "copy", "switch"} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(step+" "+cause.Error(), func(t *testing.T) {
				x, f, path := faulty(t)
				sparse(t, x)
				stop := underLoad(t, x)
				f.m.Store(step, cause)
				if err := x.Compact(t.Context()); !errors.Is(err, cause) {
					t.Errorf("compact: %v", err)
				}
				f.m.Delete(step)
				if _, err := os.Stat(compactPath(path)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the copy is left: %v", err)
				}
				if err := x.Compact(t.Context()); err != nil {
					t.Errorf("compact again: %v", err)
				}
				stop()
			})
		}
	}
	t.Run("switched", func(t *testing.T) {
		x, f, path := faulty(t)
		mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("before", 1)}})
		f.m.Store("switched", syscall.EIO)
		if err := x.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := x.Commit(t.Context(), &efs.Txn{Mutations: []efs.Mutation{record1("after", 1)}})
		if !errors.Is(err, efs.ErrStopped) {
			t.Errorf("commit: %v", err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		if x, err = Open(path, indextest.FS, sealer, Options{}); err != nil {
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

// TestCompactWhileClosing closes in the middle of a compaction.
func TestCompactWhileClosing(t *testing.T) {
	x, _, path := faulty(t)
	sparse(t, x)
	ended := make(chan error)
	go func() {
		for {
			if err := x.Compact(t.Context()); err != nil {
				ended <- err
				return
			}
		}
	}()
	time.Sleep(20 * time.Millisecond)
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, efs.ErrStopped) {
		t.Errorf("compact: %v", err)
	}
	x, err := Open(path, indextest.FS, sealer, Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkSparse(t, x, 100, 100)
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

// TestCompactNeedsRoom asks for more than the volume has.
func TestCompactNeedsRoom(t *testing.T) {
	x, _, _ := faulty(t)
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("k", 1)}})
	x.store.room.used.Store(1 << 60)
	if err := x.Compact(t.Context()); !errors.Is(err, efs.ErrNoSpace) {
		t.Errorf("compact: %v", err)
	}
}

// TestCrashWhileCompacting copies the files at each step of a compaction under
// load, and looks in the copies for what had been confirmed.
func TestCrashWhileCompacting(t *testing.T) {
	type image struct {
		path, step string
		confirmed  uint64
	}
	var mu sync.Mutex
	var images []image
	var x *Index
	seen := map[string]int{}
	path := filepath.Join(t.TempDir(), "index.db")
	o := tiny
	o.Reserve = 1 << 20
	o.Fault = func(step string) error {
		mu.Lock()
		defer mu.Unlock()
		if x == nil {
			return nil
		}
		switch step {
		case "compact", "copy", "switch", "switched", "flush", "log sync":
			if seen[step]++; seen[step] <= 6 {
				h, _ := x.Head(t.Context()) // while it is open
				images = append(images, image{copied(t, path), step, h.Seq})
			}
		}
		return nil
	}
	y, err := Create(path, indextest.FS, sealer, o)
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close()
	sparse(t, y)
	stop := underLoad(t, y)
	mu.Lock()
	x = y
	mu.Unlock()
	for range 2 {
		if err := y.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for _, im := range images {
		z, err := Open(im.path, indextest.FS, sealer, Options{Reserve: 1 << 20})
		if err != nil {
			t.Fatalf("at %q: %v", im.step, err)
		}
		if h, err := z.Head(t.Context()); err != nil || h.Seq < im.confirmed {
			t.Errorf("at %q: head at %d (%v), %d were confirmed", im.step, h.Seq, err, im.confirmed)
		}
		checkSparse(t, z, 100, 140)
		if _, err := os.Stat(compactPath(im.path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("an unfinished copy is left: %v", err)
		}
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, step := range []string{"compact", "copy", "switch", "switched", "flush", "log sync"} {
		if seen[step] == 0 {
			t.Errorf("never came to %q", step)
		}
	}
}
