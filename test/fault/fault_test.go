package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// bench is a prepared root, copied to the faulty volume for each round.
type bench struct {
	*kit.Server
	inj      *Injector
	prepared string
	backing  string // what the mount shows
	mnt      string
	round    int
}

func prepare(t *testing.T) *bench {
	t.Helper()
	s := kit.NewShipped(t) // for a thousand starts: each takes several times as long with the race detector
	c := s.Client()
	for i := range 3 {
		if _, err := c.Put(t.Context(), fmt.Sprintf("/kept/%d", i), bytes.NewReader(kit.Pattern(7, 50_000*i+10)), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.Stop()
	b := &bench{Server: s, prepared: s.Root, backing: t.TempDir(), mnt: t.TempDir()}
	b.inj = Mount(t, b.backing, b.mnt)
	t.Cleanup(func() { // before the unmount
		if s.Running() {
			s.Kill()
		}
	})
	return b
}

// fresh puts a copy of the prepared root on the faulty volume.
func (b *bench) fresh(t *testing.T) {
	t.Helper()
	b.inj.Disarm()
	b.round++
	b.Root = filepath.Join(b.mnt, fmt.Sprint(b.round), "efs")
	if err := os.CopyFS(filepath.Join(b.backing, fmt.Sprint(b.round), "efs"), os.DirFS(b.prepared)); err != nil {
		t.Fatal(err)
	}
}

// work does one of everything that changes a volume and notes what was
// confirmed. It goes on after failures, as clients do.
func work(ctx context.Context, c *client.Client, l *kit.Ledger) (failures int) {
	version := kit.State(0)
	put := func(path string) error {
		version++
		l.Ask(path, version)
		_, err := c.Put(ctx, path, bytes.NewReader(kit.Body(path, version)), client.PutOptions{})
		if err == nil {
			l.Confirm(path)
		}
		return err
	}
	remove := func(path string) error {
		l.Ask(path, 0)
		err := c.Remove(ctx, path, client.RemoveOptions{})
		if err == nil || errors.Is(err, client.ErrNotFound) {
			l.Confirm(path)
			return nil
		}
		return err
	}
	steps := []func() error{}
	for i := range 4 { // sizes differ by path: records and blobs
		for _, dir := range []string{"/a", "/b/deep/er"} {
			path := fmt.Sprintf("%s/%d", dir, i)
			steps = append(steps, func() error { return put(path) }, func() error { return put(path) })
		}
	}
	steps = append(steps,
		func() error { return c.Mkdir(ctx, "/empty", client.MkdirOptions{}) },
		func() error { return remove("/a/1") },
		func() error { return put("/a/1") },
		func() error { return remove("/b/deep/er/2") },
		func() error { return put("/last") },
	)
	for _, step := range steps {
		if step() != nil {
			failures++
		}
	}
	return failures
}

// TestEveryCall lets each changing call of a server's life fail in turn: from
// opening the root to stopping. Whatever was confirmed is there afterwards,
// what was not is wholly old or wholly new, and fsck is clean. Two volumes share
// the calls.
func TestEveryCall(t *testing.T) {
	total := prepare(t).calls(t)
	if total < 60 {
		t.Fatalf("only %d changing calls were seen", total)
	}
	t.Logf("%d changing calls in a server's life", total)
	const volumes = 2
	var hits atomic.Int64
	t.Run("volumes", func(t *testing.T) {
		for first := 1; first <= volumes; first++ {
			t.Run(fmt.Sprint(first), func(t *testing.T) {
				t.Parallel()
				b := prepare(t)
				for at := first; at <= total; at += volumes {
					for _, f := range []fault{{syscall.EIO, false}, {syscall.ENOSPC, true}} {
						if b.fail(t, at, f) {
							hits.Add(1)
						}
					}
				}
			})
		}
	})
	if int(hits.Load()) < total {
		t.Errorf("only %d of %d faults were hit", hits.Load(), 2*total)
	}
	t.Logf("%d faults injected", hits.Load())
}

// calls is how many changing calls a server's life makes without a fault.
func (b *bench) calls(t *testing.T) int {
	t.Helper()
	b.fresh(t)
	b.inj.Arm(0, 0, false)
	b.Start()
	c := b.Client()
	if n := work(t.Context(), c, &kit.Ledger{}); n != 0 {
		t.Fatalf("%d steps failed without a fault:\n%s", n, b.Log())
	}
	c.Close()
	b.Stop()
	total, _ := b.inj.Disarm()
	return total
}

// fault is what a call fails with: that one alone, or all from then on.
type fault struct {
	errno  syscall.Errno
	sticky bool
}

// fail lives through one life whose call number at fails, if it gets there, and
// checks what is left.
func (b *bench) fail(t *testing.T, at int, f fault) (hit bool) {
	t.Helper()
	b.fresh(t)
	l := &kit.Ledger{}
	b.inj.Arm(at, f.errno, f.sticky)
	if err := b.TryStart(); err == nil {
		if c, err := b.TryClient(); err == nil {
			work(t.Context(), c, l)
			c.Close()
		}
	}
	if b.Running() {
		b.Kill()
	}
	_, call := b.inj.Disarm()
	what := fmt.Sprintf("%d %v (%s)", at, f.errno, call)
	b.check(t, l, what)
	if t.Failed() {
		t.Fatalf("after the fault %s", what)
	}
	if err := os.RemoveAll(filepath.Join(b.backing, fmt.Sprint(b.round))); err != nil {
		t.Fatal(err)
	}
	return call != ""
}

// check restarts the server on the healthy volume and compares.
func (b *bench) check(t *testing.T, l *kit.Ledger, what string) {
	t.Helper()
	if err := b.TryStart(); err != nil {
		t.Errorf("%s: the server does not start any more: %v\n%s", what, err, b.Log())
		return
	}
	c, err := b.TryClient()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer c.Close()
	for _, path := range l.Paths() {
		if err := l.Check(t.Context(), c, path); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if out, err := b.TryCtl("fsck", kit.FS, "--deep"); err != nil {
		t.Errorf("%s: fsck: %v\n%s", what, err, out)
	}
	b.Kill()
}

// noRoom reports whether a store was refused for want of room: for the file, or
// for its line in the audit log, which lies on the same volume here.
func noRoom(err error) bool {
	var refused *client.Error
	return errors.Is(err, client.ErrNoSpace) || errors.As(err, &refused) && refused.Type == "audit-unavailable"
}

// TestFullDisk fills the disk under a running server: stores are refused with
// a clear answer, reads and deletes go on, and stores work again, without a
// restart, once there is space.
func TestFullDisk(t *testing.T) {
	b := prepare(t)
	b.fresh(t)
	b.Start()
	c := b.Client()
	ctx := t.Context()
	for i := range 8 {
		for _, size := range []int{500, 90_000} {
			if _, err := c.Put(ctx, fmt.Sprintf("/full/%d-%d", i, size), bytes.NewReader(kit.Pattern(uint64(i), size)), client.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.inj.Fill()
	for _, size := range []int{90_000, 3_000_000} {
		if _, err := c.Put(ctx, "/full/more", bytes.NewReader(kit.Pattern(1, size)), client.PutOptions{}); !noRoom(err) {
			t.Errorf("storing %d bytes on a full disk: %v", size, err)
		}
	}
	// Small files go into the index, which has some room left in its file.
	for i := 0; ; i++ {
		_, err := c.Put(ctx, fmt.Sprintf("/full/small-%d", i), bytes.NewReader(kit.Pattern(1, 15_000)), client.PutOptions{})
		if noRoom(err) {
			break
		}
		if err != nil || i == 5000 {
			t.Fatalf("storing small file %d on a full disk: %v", i, err)
		}
	}
	for i := range 8 {
		for _, size := range []int{500, 90_000} {
			path := fmt.Sprintf("/full/%d-%d", i, size)
			if i%2 == 0 {
				if err := c.Remove(ctx, path, client.RemoveOptions{}); err != nil {
					t.Errorf("deleting on a full disk: %v", err)
				}
			} else if r, err := c.Get(ctx, path); err != nil {
				t.Errorf("reading on a full disk: %v", err)
			} else {
				r.Close()
			}
		}
	}
	b.inj.Disarm()
	for _, size := range []int{400, 90_000} {
		var err error
		for range 50 { // the audit log notices room when it next writes
			if _, err = c.Put(ctx, "/full/again", bytes.NewReader(kit.Pattern(2, size)), client.PutOptions{}); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err != nil {
			t.Errorf("storing %d bytes once there is space again: %v", size, err)
		}
	}
	if out, err := b.TryCtl("fsck", kit.FS, "--deep"); err != nil {
		t.Errorf("fsck: %v\n%s", err, out)
	}
	b.Stop()
}
