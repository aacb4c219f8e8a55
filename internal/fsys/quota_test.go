package fsys

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

func (e *env) putAs(user, path string, data []byte) error {
	_, err := e.Put(ctx, path, bytes.NewReader(data), PutOptions{Who: Who{User: user}, Size: int64(len(data))})
	return err
}

func (e *env) quota(user string, bytes, files int64) QuotaState {
	e.t.Helper()
	s, err := e.SetQuota(ctx, Who{}, QuotaChange{User: user, MaxBytes: &bytes, MaxFiles: &files})
	e.check(err)
	return s
}

// counted waits until every user is counted and returns what each has in use.
func (e *env) counted() map[string]efs.Usage {
	e.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all, err := e.Quotas(ctx)
		e.check(err)
		use, counting := map[string]efs.Usage{}, false
		for _, s := range all {
			counting = counting || s.Counting
			use[s.User] = efs.Usage{Bytes: s.Bytes, Files: s.Files}
		}
		if !counting {
			return use
		}
	}
	e.t.Fatal("counting does not end")
	return nil
}

func TestAFileSystemTakesNoMoreThanItsQuota(t *testing.T) {
	e := newEnv(t)
	e.put("a", data(1, 3000))
	s := e.quota("", 10_000, 3)
	if s.Bytes != 3000 || s.Files != 1 || s.Counting {
		t.Errorf("the quota is %+v", s)
	}
	e.refused("a file too large", e.putAs("", "b", data(2, 7001)), efs.ErrQuota)
	e.refused("a small file too large", func() error { e.put("x", data(2, 4000)); return e.putAs("", "y", data(3, 3500)) }(), efs.ErrQuota)
	e.missing("b")
	e.check(e.putAs("", "y", data(3, 3000)))
	e.refused("a file too many", e.putAs("", "z", nil), efs.ErrQuota)
	e.refused("a copy", func() error { _, err := e.Copy(ctx, "a", "c", CopyOptions{}); return err }(), efs.ErrQuota)
	e.refused("a larger one in its place", e.putAs("", "y", data(3, 3001)), efs.ErrQuota)

	// Below, with less room than is in use, what gives back works.
	e.quota("", 100, 1)
	e.check(e.putAs("", "y", data(4, 2999)))
	if _, err := e.Move(ctx, "a", "b", MoveOptions{}); err != nil {
		t.Errorf("moving: %v", err)
	}
	e.check(e.Remove(ctx, "x", RemoveOptions{}))
	e.refused("a new file", e.putAs("", "z", nil), efs.ErrQuota)
	e.quota("", 0, 0)
	e.check(e.putAs("", "z", data(5, blobSize)))
	e.clean()
}

func TestAUserTakesNoMoreThanTheUsersQuota(t *testing.T) {
	e := newEnv(t)
	for i := range 5 {
		e.check(e.putAs("alice", fmt.Sprint("d/a", i), data(1, 1000)))
		e.check(e.putAs("bob", fmt.Sprint("d/b", i), data(1, 1000)))
	}
	e.quota("alice", 6000, 0)
	if use := e.counted()["alice"]; use != (efs.Usage{Bytes: 5000, Files: 5}) {
		t.Errorf("alice has %+v in use", use)
	}
	e.refused("alice's file", e.putAs("alice", "c", data(2, 1001)), efs.ErrQuota)
	e.check(e.putAs("bob", "c", data(2, 1001)))
	e.check(e.putAs("alice", "c", data(2, 1000))) // in place of bob's
	e.refused("bob's file for alice", e.putAs("alice", "d/b0", data(2, 10)), efs.ErrQuota)
	e.check(e.putAs("bob", "d/a0", data(2, 10))) // in place of alice's
	e.check(e.putAs("alice", "d/b0", data(2, 1000)))
	e.quota("bob", 0, 1)
	if use := e.counted(); use["alice"] != (efs.Usage{Bytes: 6000, Files: 6}) || use["bob"] != (efs.Usage{Bytes: 4010, Files: 5}) {
		t.Errorf("in use: %+v", use)
	}
	e.check(e.Remove(ctx, "d", RemoveOptions{Recursive: true}))
	e.idle()
	if use := e.counted(); use["alice"] != (efs.Usage{Bytes: 1000, Files: 1}) || use["bob"] != (efs.Usage{}) {
		t.Errorf("after deleting the tree: %+v", use)
	}
	e.reopen()
	e.refused("after restart", e.putAs("alice", "x", data(2, 5001)), efs.ErrQuota)
	e.clean()
	e.quota("alice", 0, 0)
	e.check(e.putAs("alice", "x", data(2, 5001)))
	if len(e.counted()) != 2 {
		t.Errorf("quotas: %v", e.counted())
	}
	e.clean()
}

// Whatever is written while users are counted, the sums are right: fsck
// compares them with the entries.
func TestUsersAreCountedRightWhileTheyWrite(t *testing.T) {
	e := newEnv(t)
	users := []string{"alice", "bob", "carol"}
	for i := range 1500 {
		e.check(e.putAs(users[i%3], fmt.Sprintf("d%d/f%d", i%7, i), data(uint64(i), i%50)))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := e.stir(r, users[r.IntN(3)]); err != nil {
					e.t.Errorf("stirring: %v", err)
					return
				}
			}
		})
	}
	for round := range 6 {
		for _, u := range users {
			e.quota(u, 1<<40, 0)
		}
		if round%2 == 0 {
			e.counted()
		}
		if round < 5 { // also while they are being counted
			for _, u := range users[:2] {
				e.quota(u, 0, 0)
			}
		}
	}
	e.counted()
	close(stop)
	wg.Wait()
	e.idle()
	if r := e.clean(); !r.UsageChecked {
		t.Error("the sums were not compared")
	}
}

// stir does one thing of those that change what users have.
func (e *env) stir(r *rand.Rand, user string) error {
	path := func() string { return fmt.Sprintf("d%d/f%d", r.IntN(7), r.IntN(1500)) }
	var err error
	switch r.IntN(8) {
	case 0:
		err = e.Remove(ctx, path(), RemoveOptions{})
	case 1, 2:
		_, err = e.Move(ctx, path(), path(), MoveOptions{Overwrite: true})
	case 3:
		_, err = e.Patch(ctx, path(), PatchOptions{Type: new(string)})
	case 4:
		_, err = e.Copy(ctx, path(), path(), CopyOptions{Who: Who{User: user}, Overwrite: true})
	case 5:
		if r.IntN(40) == 0 {
			err = e.Remove(ctx, fmt.Sprint("d", r.IntN(7)), RemoveOptions{Recursive: true})
		}
	default:
		err = e.putAs(user, path(), data(r.Uint64(), r.IntN(80)))
	}
	for _, kind := range []error{efs.ErrNotFound, efs.ErrBadInput, efs.ErrExists} {
		if errors.Is(err, kind) {
			return nil
		}
	}
	return err
}

func TestACountThatWasCutOffBeginsAnew(t *testing.T) {
	e := newEnv(t)
	for i := range 600 {
		e.check(e.putAs("alice", fmt.Sprint("f", i), data(1, 10)))
	}
	e.quota("alice", 1<<30, 0)
	e.crash()
	e.check(e.tryOpen())
	e.check(e.Remove(ctx, "f7", RemoveOptions{}))
	if use := e.counted()["alice"]; use != (efs.Usage{Bytes: 5990, Files: 599}) {
		t.Errorf("alice has %+v in use", use)
	}
	e.clean()
}

func TestFsckMendsTheSumOfAUser(t *testing.T) {
	e := newEnv(t)
	e.check(e.putAs("alice", "f", data(1, 10)))
	e.quota("alice", 1<<30, 0)
	e.counted()
	_, err := e.o.Index.Commit(ctx, &efs.Txn{Usage: []efs.Delta{{Account: e.quotas.Load().users["alice"].Account, Bytes: 5}}})
	e.check(err)
	r, err := e.Fsck(ctx, FsckOptions{Repair: true})
	e.check(err)
	if len(r.Problems) != 1 || r.Problems[0].Kind != ProblemUsage || !r.Problems[0].Repaired {
		t.Errorf("fsck found %+v", r.Problems)
	}
	e.clean()
}

func TestBadQuotasAreRefused(t *testing.T) {
	e := newEnv(t)
	n := int64(-1)
	_, err := e.SetQuota(ctx, Who{}, QuotaChange{MaxBytes: &n})
	e.refused("a negative bound", err, efs.ErrBadInput)
	_, err = e.SetQuota(ctx, Who{}, QuotaChange{User: "a/b", MaxBytes: new(int64)})
	e.refused("no user name", err, efs.ErrBadInput)
}
