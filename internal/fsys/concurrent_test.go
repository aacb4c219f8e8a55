package fsys

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/efs-project/efs"
)

// together runs n functions at once and waits for them.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}

func TestOneOfManyWritersWithTheSameConditionWins(t *testing.T) {
	e := newEnv(t)
	for round, n := range []int{inlineSize, blobSize, inlineSize, blobSize} {
		var cond Cond
		path := fmt.Sprintf("new-%d/f", round)
		if round < 2 {
			cond.IfMatch = []string{e.put(path, data(1, n)).Entry.ETag}
		} else {
			cond.IfNoneMatch = []string{"*"}
		}
		var won atomic.Int32
		together(8, func(i int) {
			_, err := e.Put(ctx, path, bytes.NewReader(data(uint64(100+i), n)), PutOptions{Cond: cond, Size: -1})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, efs.ErrPrecondition):
				t.Errorf("a losing writer got %v", err)
			}
		})
		if won.Load() != 1 {
			t.Errorf("round %d: %d writers won", round, won.Load())
		}
	}
	e.idle()
	e.clean()
	if n := len(e.blobs()); n != 2 {
		t.Errorf("%d blobs are left", n)
	}
}

func TestReadersSeeOneVersionWhole(t *testing.T) {
	e := newEnv(t)
	version := func(i int) []byte {
		n := []int{inlineSize, blobSize}[i%2]
		return bytes.Repeat([]byte{byte(i)}, n)
	}
	e.put("f", version(0))
	var stop atomic.Bool
	var reads atomic.Int64
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for !stop.Load() {
				got, err := e.read("f")
				if err != nil || len(got) == 0 || !bytes.Equal(got, version(int(got[0]))) {
					t.Errorf("read %d bytes, %v", len(got), err)
					return
				}
				reads.Add(1)
			}
		})
	}
	for i := range 60 {
		e.put("f", version(i))
		e.work.kick()
	}
	stop.Store(true)
	readers.Wait()
	if reads.Load() == 0 {
		t.Error("nobody read")
	}
	e.idle()
	e.clean()
}

// Writers below a directory, while it is moved and deleted: whatever was
// confirmed is where the tree says or was deleted with it, and nothing is left
// in a tree that is gone.
func TestNothingIsConfirmedIntoATreeThatIsGone(t *testing.T) {
	for _, adjust := range []func(*env){func(*env) {}, tinyNames} {
		nothingIsConfirmedIntoATreeThatIsGone(t, newEnv(t, adjust))
	}
}

func nothingIsConfirmedIntoATreeThatIsGone(t *testing.T, e *env) {
	together(6, func(i int) {
		for k := range 25 {
			n := []int{inlineSize, blobSize}[k%10/9]
			switch i {
			case 0:
				err := e.Remove(ctx, "tree", RemoveOptions{Recursive: true})
				if err != nil && !errors.Is(err, efs.ErrNotFound) {
					t.Error(err)
				}
			case 1:
				_, err := e.Move(ctx, "tree/sub", fmt.Sprintf("moved-%d", k), MoveOptions{})
				if err != nil && !errors.Is(err, efs.ErrNotFound) {
					t.Error(err)
				}
			default:
				path := fmt.Sprintf("tree/sub/dir/%d-%d", i, k)
				if _, err := e.Put(ctx, path, bytes.NewReader(data(1, n)), PutOptions{Size: -1}); err != nil {
					t.Errorf("storing: %v", err)
				}
			}
		}
	})
	e.idle()
	r := e.clean()
	var reachable int64
	for _, k := range e.listed("/", ListOptions{Recursive: true}) {
		if k[len(k)-1] != '/' {
			reachable++
			e.holds(k, data(1, int(must(e.Stat(ctx, k)).Size)))
		}
	}
	if r.Files != reachable {
		t.Errorf("%d files exist, %d can be reached", r.Files, reachable)
	}
}

func TestTwoMovesMakeNoCircle(t *testing.T) {
	e := newEnv(t)
	for round := range 15 {
		a, b := fmt.Sprintf("%d/a", round), fmt.Sprintf("%d/b", round)
		e.put(a+"/f", nil)
		e.put(b+"/f", nil)
		var won atomic.Int32
		together(2, func(i int) {
			from, to := a, b+"/in"
			if i == 1 {
				from, to = b, a+"/in"
			}
			_, err := e.Move(ctx, from, to, MoveOptions{})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, efs.ErrNotFound) && !errors.Is(err, efs.ErrBadInput):
				t.Errorf("the losing move got %v", err)
			}
		})
		if won.Load() == 0 {
			t.Error("neither move happened")
		}
	}
	files := 0
	for _, k := range e.listed("/", ListOptions{Recursive: true}) {
		if strings.HasSuffix(k, "/f") {
			files++
		}
	}
	if files != 30 {
		t.Errorf("%d of 30 files can be reached", files)
	}
	e.clean()
}

func TestManyStoresAtOnceIntoNewDirectories(t *testing.T) {
	e := newEnv(t)
	together(16, func(i int) {
		for k := range 10 {
			path := fmt.Sprintf("a/b/%d/f-%d", k, i)
			if _, err := e.Put(ctx, path, bytes.NewReader([]byte(path)), PutOptions{Size: -1}); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 16 {
		for k := range 10 {
			path := fmt.Sprintf("a/b/%d/f-%d", k, i)
			e.holds(path, []byte(path))
		}
	}
	if r := e.clean(); r.Files != 160 || r.Directories != 12 {
		t.Errorf("%d files in %d directories", r.Files, r.Directories)
	}
}

// fsck beside writers finds nothing that is not there.
func TestFsckBesideWriters(t *testing.T) {
	for _, adjust := range []func(*env){func(*env) {}, tinyNames} {
		fsckBesideWriters(t, newEnv(t, adjust))
	}
}

func fsckBesideWriters(t *testing.T, e *env) {
	var stop atomic.Bool
	var writers sync.WaitGroup
	for i := range 3 {
		writers.Go(func() {
			for k := 0; !stop.Load(); k++ {
				path := fmt.Sprintf("d%d/f%d", i, k%20)
				n := []int{inlineSize, blobSize}[k%5/4]
				if _, err := e.Put(ctx, path, bytes.NewReader(data(uint64(k), n)), PutOptions{Size: -1}); err != nil {
					t.Error(err)
				}
				if k%7 == 6 {
					if _, err := e.Move(ctx, fmt.Sprintf("d%d", i), fmt.Sprintf("e%d/%d", i, k), MoveOptions{}); err != nil {
						t.Error(err)
					}
				}
				if k%11 == 10 {
					if err := e.Remove(ctx, fmt.Sprintf("e%d", i), RemoveOptions{Recursive: true}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 8 {
		e.clean()
	}
	stop.Store(true)
	writers.Wait()
	e.idle()
	e.clean()
}
