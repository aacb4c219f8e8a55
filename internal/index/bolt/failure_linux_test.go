package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/indextest"
	"golang.org/x/sys/unix"
)

// faults fails chosen steps with chosen errors while they are set.
type faults struct{ m sync.Map }

func (f *faults) fail(step string) error {
	if err, ok := f.m.Load(step); ok {
		return err.(error)
	}
	return nil
}

func faulty(t *testing.T) (x *Index, f *faults, path string) {
	t.Helper()
	return faultyWith(t, Options{})
}

func faultyWith(t *testing.T, o Options) (x *Index, f *faults, path string) {
	t.Helper()
	f = &faults{}
	path = filepath.Join(t.TempDir(), "index.db")
	o.Reserve, o.Fault = 1<<20, f.fail
	x, err := Create(path, indextest.FS, sealer, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() }) // also of an index that has stopped
	return x, f, path
}

// stopped checks that nothing is committed any more, and what a fresh open
// finds: the record "before", and nothing of the transactions after it.
func stopped(t *testing.T, x *Index, path string, err error) {
	t.Helper()
	if !errors.Is(err, efs.ErrStopped) || !strings.Contains(err.Error(), "outcome unknown") || errors.Is(err, efs.ErrNoSpace) {
		t.Errorf("failing commit: %v", err)
	}
	_, err = x.Commit(t.Context(), &efs.Txn{Mutations: []efs.Mutation{record1("later", 1)}})
	if !errors.Is(err, efs.ErrStopped) || strings.Contains(err.Error(), "outcome unknown") {
		t.Errorf("commit after a failed one: %v", err)
	}
	if err := x.SetMark(t.Context(), efs.Mark{Kind: efs.MarkHold, Name: "m"}); !errors.Is(err, efs.ErrStopped) {
		t.Errorf("mark after a failed commit: %v", err)
	}
	if err := x.Err(); !errors.Is(err, efs.ErrStopped) {
		t.Errorf("Err: %v", err)
	}
	if r, err := x.Get(t.Context(), record1("before", 1).Key); err != nil || r[0].Version == 0 {
		t.Errorf("reads end with writes: %v", err)
	}
	unknown := []efs.Key{record1("after", 1).Key, record1("large", 1).Key}
	shown, err := x.Get(t.Context(), unknown...)
	if err != nil {
		t.Error(err)
	}
	if err := x.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if x, err = Open(path, indextest.FS, sealer, Options{}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	r, err := x.Get(t.Context(), record1("before", 1).Key, record1("later", 1).Key)
	if err != nil || r[0].Version == 0 || r[1].Version != 0 {
		t.Errorf("after reopening: %v, %v", r, err)
	}
	found, err := x.Get(t.Context(), unknown...)
	for i := range shown {
		if err != nil || found[i].Version != shown[i].Version {
			t.Errorf("%s had version %d before reopening and %d after (%v)", unknown[i].Bytes, shown[i].Version, found[i].Version, err)
		}
	}
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("again", 1)}})
}

func TestInjectedFailureIsFinal(t *testing.T) {
	for _, step := range []string{"grow", "sync", "commit"} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			if step == "grow" && cause == syscall.ENOSPC {
				continue // a full volume: TestFullVolume
			}
			t.Run(step+" "+cause.Error(), func(t *testing.T) {
				x, f, path := faulty(t)
				mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("before", 1)}})
				f.m.Store(step, &os.PathError{Op: step, Err: cause})
				_, err := x.Commit(t.Context(), &efs.Txn{Mutations: []efs.Mutation{record1("large", 8<<20)}})
				stopped(t, x, path, err)
			})
		}
	}
}

// unlogged are options with which everything is committed directly, as no
// record fits a segment.
var unlogged = Options{Segment: recordAlign}

// TestFailingFileIsFinal puts another file under the descriptor of the log or
// of bbolt: one that cannot be written, and one that takes writes but cannot be
// synced.
func TestFailingFileIsFinal(t *testing.T) {
	for name, dev := range map[string]string{"write": "/dev/full", "sync": "/dev/null"} {
		for file, o := range map[string]Options{"log": {}, "index": unlogged} {
			t.Run(file+" "+name, func(t *testing.T) {
				x, _, path := faultyWith(t, o)
				mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("before", 1)}})
				d, err := os.OpenFile(dev, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				f := x.store.room.file
				if file == "log" {
					f = x.log.files[0]
				}
				if err := unix.Dup3(int(d.Fd()), int(f.Fd()), unix.O_CLOEXEC); err != nil {
					t.Fatal(err)
				}
				_, err = x.Commit(t.Context(), &efs.Txn{Mutations: []efs.Mutation{record1("after", 1)}})
				stopped(t, x, path, err)
			})
		}
	}
}

func TestFullVolume(t *testing.T) {
	x, f, _ := faulty(t)
	ctx := t.Context()
	user := efs.Mutation{Key: efs.Key{Space: efs.SpaceAccess, Bytes: []byte("user")}, Sealed: []byte("may")}
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{user}})

	f.m.Store("grow", &os.PathError{Op: "fallocate", Err: syscall.ENOSPC})
	size := x.Stats().SizeBytes
	stored := 0
	for ; ; stored++ {
		_, err := x.Commit(ctx, &efs.Txn{
			Mutations: []efs.Mutation{record1(fmt.Sprint(stored), 4000)},
			Changes:   [][]byte{make([]byte, 300)},
		})
		if errors.Is(err, efs.ErrNoSpace) && !errors.Is(err, efs.ErrStopped) {
			break
		} else if err != nil || stored > 10000 {
			t.Fatalf("store %d: %v", stored, err)
		}
	}
	if now := x.Stats().SizeBytes; now != size {
		t.Errorf("file grew from %d to %d", size, now)
	}
	// What gives back goes on: deletes, with their changes and releases,
	// revocations, marks, trimming.
	for i := range stored / 2 {
		mustCommit(t, x, &efs.Txn{
			Mutations: []efs.Mutation{{Key: record1(fmt.Sprint(i), 0).Key}},
			Changes:   [][]byte{make([]byte, 600)},
			Release:   []efs.Release{{Content: efs.NewID()}},
		})
	}
	user.Sealed = []byte("may not")
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{user}, Changes: [][]byte{make([]byte, 600)}})
	if err := x.SetMark(ctx, efs.Mark{Kind: efs.MarkHold, Name: "m"}); err != nil {
		t.Error(err)
	}
	if err := x.TrimChanges(ctx, 1<<40); err != nil {
		t.Error(err)
	}
	// The freed pages are used again, on the full volume.
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("again", 4000)}})
	// A batch of one that fits and one that does not: each gets its own.
	var wg sync.WaitGroup
	var full atomic.Int32
	for i := range 20 {
		wg.Go(func() {
			m := record1(fmt.Sprint("batch", i), 100)
			if i%2 == 0 {
				m = record1(fmt.Sprint("batch", i), 30<<20)
			}
			switch _, err := x.Commit(ctx, &efs.Txn{Mutations: []efs.Mutation{m}}); {
			case errors.Is(err, efs.ErrNoSpace):
				full.Add(1)
			case err != nil:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if full.Load() != 10 {
		t.Errorf("%d of 10 oversized transactions were refused", full.Load())
	}
	// Room again: everything works, and the reserve is made anew.
	f.m.Delete("grow")
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("large", 30<<20)}})
	if err := x.Err(); err != nil {
		t.Error(err)
	}
}

// TestVolumeFullAtOpen opens an index for whose reserve there is no room.
func TestVolumeFullAtOpen(t *testing.T) {
	path := filled(t)
	if err := os.Truncate(path, 256<<10); err != nil {
		t.Fatal(err)
	}
	full := func(step string) error {
		if step == "grow" {
			return syscall.ENOSPC
		}
		return nil
	}
	x, err := Open(path, indextest.FS, sealer, Options{Fault: full})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	if _, err := x.Commit(t.Context(), &efs.Txn{Mutations: []efs.Mutation{record1("k", 1<<20)}}); !errors.Is(err, efs.ErrNoSpace) {
		t.Errorf("store: %v", err)
	}
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{{Key: record1("one", 0).Key}}})
}

func TestFileIsAllocated(t *testing.T) {
	x, _, path := faulty(t)
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("large", 10<<20)}})
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != x.Stats().SizeBytes || st.Blocks*512 < st.Size {
		t.Errorf("file of %d bytes (%d known) has %d allocated", st.Size, x.Stats().SizeBytes, st.Blocks*512)
	}
	if waste := st.Size - 10<<20; waste > 16<<20 {
		t.Errorf("%d bytes are allocated beyond what is stored", waste)
	}
}

// TestOverwrittenWhileOpen checks that neither calls nor Close hang when
// somebody else writes to the file.
func TestOverwrittenWhileOpen(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"zeros": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			return errors.Join(zeroFill(f, 0, 1<<20), f.Close())
		},
		"cut": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			x, _, path := faulty(t)
			mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("k", 1)}})
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				var wg sync.WaitGroup
				for range 4 {
					wg.Go(func() {
						if _, err := x.Get(t.Context(), record1("k", 1).Key); !errors.Is(err, efs.ErrDamaged) {
							t.Errorf("read: %v", err)
						}
					})
				}
				if _, err := x.Commit(t.Context(), &efs.Txn{Mutations: []efs.Mutation{record1("k", 1)}}); !errors.Is(err, efs.ErrStopped) {
					t.Errorf("commit: %v", err)
				}
				wg.Wait()
				if err := x.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Fatal("hangs")
			}
		})
	}
}
