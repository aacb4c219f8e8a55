package fsys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// crash ends the file system as a kill would: what the background had still to
// do is not done, and nothing is anchored.
func (e *env) crash() {
	e.t.Helper()
	fs := e.FS
	e.FS = nil
	fs.work.stop()
	if err := errors.Join(fs.o.Blobs.Close(), fs.o.Index.Close()); err != nil && !errors.Is(err, efs.ErrStopped) {
		e.t.Logf("closing after a failure: %v", err)
	}
}

// writeBlob stores a sealed blob without a transaction, as a kill between the
// two leaves it.
func (e *env) writeBlob(path string, file efs.ID, plain []byte) efs.ID {
	e.t.Helper()
	id := efs.NewID()
	how, err := e.sealing(nil, id)
	e.check(err)
	sealed, _, err := seal.SealBytes(nil, plain, &how.Params, seal.Recovery{Path: path, File: file, Extents: 1})
	e.check(err)
	dst, err := e.o.Blobs.Create(ctx, id)
	e.check(err)
	_, err = dst.Write(sealed)
	e.check(err)
	e.check(dst.Commit())
	return id
}

func TestStartUpRemovesBlobsThatWereNeverReferredTo(t *testing.T) {
	e := newEnv(t)
	kept := e.put("kept", data(1, blobSize)).Entry
	e.writeBlob("lost", efs.NewTimeID(), data(2, blobSize))
	e.writeBlob("kept", kept.File, data(3, blobSize)) // a replacement that was not committed
	old := e.put("replaced", data(4, blobSize)).Entry.Extents[0].Content
	h, err := e.Head(ctx)
	e.check(err)
	e.check(e.o.Index.SetMark(ctx, efs.Mark{Kind: efs.MarkHold, Name: "backup", Seq: h.Seq - 1}))
	e.put("replaced", data(5, inlineSize))
	e.crash()
	e.check(e.tryOpen())
	e.settled(2)
	e.holds("kept", data(1, blobSize))
	if _, err := e.o.Blobs.Open(ctx, old); err != nil {
		t.Errorf("a released blob under a hold was removed at start: %v", err)
	}
	e.check(e.o.Index.DropMark(ctx, efs.MarkHold, "backup"))
	e.settled(1)
	e.clean()
}

// settled waits until n blobs are left and nothing can be released.
func (e *env) settled(n int) {
	e.t.Helper()
	for range 500 {
		e.work.kick()
		// A blob goes before its records: the queue says when those are gone.
		queue, err := e.o.Index.Releasable(ctx, 1)
		e.check(err)
		if len(queue) == 0 && len(e.blobs()) == n {
			return
		}
		e.pause(workDelay / 5)
	}
	e.t.Fatalf("%d blobs are left, want %d", len(e.blobs()), n)
}

// A blob whose trailer names another file than the one that came to refer to
// it, because the path changed hands while it was written, is found by its
// content record.
func TestABlobWhosePathChangedHandsSurvivesRestart(t *testing.T) {
	for _, change := range []struct {
		what string
		do   func(e *env)
	}{
		{"created by another", func(e *env) { e.put("f", []byte("other")) }},
		{"deleted", func(e *env) { e.check(e.Remove(ctx, "f", RemoveOptions{})) }},
		{"moved away", func(e *env) {
			_, err := e.Move(ctx, "f", "g", MoveOptions{})
			e.check(err)
		}},
		{"moved away and created", func(e *env) {
			_, err := e.Move(ctx, "f", "g", MoveOptions{})
			e.check(err)
			e.put("f", []byte("new"))
		}},
		{"parent moved", func(e *env) { e.put("unrelated", nil) }},
	} {
		t.Run(change.what, func(t *testing.T) {
			var between func()
			e := newEnv(t, func(e *env) {
				e.files.Fault = func(step string) error {
					if step == "syncdir" && between != nil {
						f := between
						between = nil
						f() // the blob is closed, its transaction not begun
					}
					return nil
				}
			})
			if change.what != "created by another" {
				e.put("f", data(1, inlineSize))
			}
			between = func() { change.do(e) }
			e.put("f", data(2, blobSize))
			if between != nil {
				t.Fatal("nothing happened in between")
			}
			e.crash()
			e.check(e.tryOpen())
			e.reopen()
			e.settled(1)
			e.holds("f", data(2, blobSize))
			e.clean()
			e.check(e.Remove(ctx, "f", RemoveOptions{}))
			e.settled(0)
			if n := e.records(efs.SpaceContents); n != 0 {
				t.Errorf("%d content records are left", n)
			}
			e.clean()
		})
	}
}

func TestABlobThatDoesNotOpenIsNeverRemoved(t *testing.T) {
	e := newEnv(t)
	id := e.writeBlob("x", efs.NewTimeID(), data(1, blobSize))
	e.crash()
	file := e.blobFile(id)
	b, err := os.ReadFile(file)
	e.check(err)
	b[len(b)-1] ^= 1
	e.check(os.WriteFile(file, b, 0o600))
	e.reopenAfterCrash()
	if n := len(e.blobs()); n != 1 {
		t.Errorf("%d blobs", n)
	}
	e.reports("blob that does not open", ProblemUndecided)
}

func (e *env) reopenAfterCrash() {
	e.t.Helper()
	e.check(e.tryOpen())
	e.check(e.settleLeftovers(ctx, must(e.leftovers(ctx))))
}

// Each step of a store fails in turn. What was confirmed is there, what was
// not is wholly old or wholly new, and after a restart nothing is left over.
func TestEveryStepFailsInTurn(t *testing.T) {
	broken := errors.New("broken")
	for _, kind := range []error{broken, efs.ErrNoSpace} {
		for step := int32(1); ; step++ {
			var left atomic.Int32
			fault := func(string) error {
				if left.Add(-1) == 0 {
					return kind
				}
				return nil
			}
			e := newEnv(t, func(e *env) { e.index.Fault, e.files.Fault = fault, fault })
			want := map[string][][]byte{} // what each path may hold; nil for nothing
			left.Store(step)
			for i, n := range []int{inlineSize, blobSize, inlineSize, blobSize} {
				path := fmt.Sprintf("dir/f%d", i%3)
				body := data(uint64(10*int(step)+i), n)
				_, err := e.Put(ctx, path, bytes.NewReader(body), PutOptions{Size: -1})
				switch {
				case err == nil:
					want[path] = [][]byte{body}
				case errors.Is(err, efs.ErrStopped): // unknown: the old or the new
					if want[path] == nil {
						want[path] = [][]byte{nil}
					}
					want[path] = append(want[path], body)
				}
			}
			reached := left.Load() <= 0
			left.Store(-1 << 20)
			e.crash()
			e.check(e.tryOpen())
			for path, may := range want {
				got, err := e.read(path)
				if errors.Is(err, efs.ErrNotFound) {
					err = nil
				}
				if err != nil || !slices.ContainsFunc(may, func(b []byte) bool { return bytes.Equal(b, got) }) {
					t.Errorf("step %d: %s holds %d bytes, %v", step, path, len(got), err)
				}
			}
			e.idle()
			e.check(e.settleLeftovers(ctx, must(e.leftovers(ctx))))
			e.clean()
			e.close()
			if !reached {
				break
			}
		}
	}
}

// A transaction whose outcome is unknown leaves its blob, in case the index
// has it; the next start decides.
func TestUnknownOutcomeKeepsTheBlobUntilRestart(t *testing.T) {
	for _, committed := range []bool{false, true} {
		e := newEnv(t, func(e *env) {
			e.wrap = func(o *Options) { o.Index = &unsure{Index: o.Index, committed: committed} }
		})
		e.put("f", data(1, inlineSize))
		e.o.Index.(*unsure).fail.Store(true)
		_, err := e.Put(ctx, "f", bytes.NewReader(data(2, blobSize)), PutOptions{Size: -1})
		e.refused("unknown outcome", err, efs.ErrStopped)
		if n := len(e.blobs()); n != 1 {
			t.Errorf("%d blobs after an unknown outcome, want 1", n)
		}
		e.crash()
		e.check(e.tryOpen())
		if committed {
			e.settled(1)
			e.holds("f", data(2, blobSize))
		} else {
			e.settled(0)
			e.holds("f", data(1, inlineSize))
		}
		e.clean()
	}
}

// unsure is an index that fails after, or instead of, committing.
type unsure struct {
	efs.Index
	committed bool
	fail      atomic.Bool
}

func (u *unsure) Commit(ctx context.Context, txn *efs.Txn) (efs.Committed, error) {
	if !u.fail.Load() {
		return u.Index.Commit(ctx, txn)
	}
	if u.committed {
		if _, err := u.Index.Commit(ctx, txn); err != nil {
			return efs.Committed{}, err
		}
	}
	return efs.Committed{}, fmt.Errorf("sync: %w", efs.ErrStopped)
}

// A reaper that is killed between two batches goes on at the next start.
func TestReapingIsResumed(t *testing.T) {
	e := newEnv(t)
	for i := range 2*reapBatch + 10 {
		e.put(fmt.Sprintf("tree/%d", i), nil)
	}
	id := must(e.Stat(ctx, "tree")).File
	e.work.stop()
	e.FS.work.ended = false // the background rests, the rest works
	e.check(e.Remove(ctx, "tree", RemoveOptions{Recursive: true}))
	e.check(e.reapSome(ctx, detached{Dir: id}))
	if n := e.records(efs.SpaceEntries); n != reapBatch+10 {
		t.Errorf("%d entries are left after a batch", n)
	}
	e.clean()
	e.crash()
	e.check(e.tryOpen())
	e.idle()
	if n := e.records(efs.SpaceEntries) + e.records(efs.SpaceFiles) + e.records(efs.SpaceInline); n != 0 {
		t.Errorf("%d records are left", n)
	}
	e.clean()
}
