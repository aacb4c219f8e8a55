package fsys

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

// contentsOf is what a view shows: path → kind, digest of what was read.
func (e *env) contentsOf(v *View) map[string]string {
	e.t.Helper()
	all, last := map[string]string{}, ""
	e.check(v.Walk(ctx, "/", func(path string, ent *efs.Entry) error {
		key := sortKey(path, ent.Kind)
		if key <= last {
			e.t.Errorf("'%s' comes after '%s'", key, last)
		}
		last = key
		if all[path] = ent.Kind.String(); ent.Kind != efs.KindFile {
			return nil
		}
		f, err := v.Open(ctx, path, ent)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := errors.Join(f.WriteRange(&b, 0, -1), f.Close()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if sum := sha256.Sum256(b.Bytes()); !bytes.Equal(sum[:], ent.Digest) {
			return fmt.Errorf("%s has another digest", path)
		}
		all[path] = fmt.Sprintf("%x", ent.Digest)
		return nil
	}))
	return all
}

func (e *env) view() *View {
	e.t.Helper()
	v, err := e.Snapshot(ctx, "test")
	e.check(err)
	e.t.Cleanup(func() { _ = v.Close() })
	return v
}

func TestAViewShowsWhatWasThere(t *testing.T) {
	e := newEnv(t)
	e.put("a/small", data(1, inlineSize))
	e.put("a/large", data(2, blobSize))
	e.put("a.txt", data(3, inlineSize))
	e.put("tree/deep/er/large", data(4, blobSize))
	e.put("moved", data(5, blobSize))
	first := e.view()
	before := e.contentsOf(first)
	e.check(first.Close())
	v := e.view()
	e.put("a/small", data(6, inlineSize))
	e.put("a/large", data(7, blobSize))
	e.put("new", data(8, blobSize))
	e.check(e.Remove(ctx, "tree", RemoveOptions{Recursive: true}))
	e.check(e.Remove(ctx, "a.txt", RemoveOptions{}))
	_, err := e.Move(ctx, "moved", "elsewhere", MoveOptions{})
	e.check(err)
	e.idle()
	if got := e.contentsOf(v); !maps.Equal(got, before) {
		t.Errorf("the view shows %v, there was %v", got, before)
	}
	if ent, err := v.Stat(ctx, "tree/deep/er/large"); err != nil || ent.Size != blobSize {
		t.Errorf("a deleted file in the view: %+v, %v", ent, err)
	}
	_, err = v.Stat(ctx, "new")
	e.refused("what came later", err, efs.ErrNotFound)
	var part []string
	e.check(v.Walk(ctx, "tree/deep", func(path string, _ *efs.Entry) error { part = append(part, path); return nil }))
	if want := []string{"tree/deep", "tree/deep/er", "tree/deep/er/large"}; !slices.Equal(part, want) {
		t.Errorf("a walk from a directory gives %v", part)
	}
	blobs, inline := 0, 0
	e.check(v.Contents(ctx, func(_ efs.ID, in bool, sealed int64) error {
		if sealed == 0 {
			t.Error("a content without a length")
		}
		if in {
			inline++
		} else {
			blobs++
		}
		return nil
	}))
	if blobs != 3 || inline != 2 {
		t.Errorf("%d blobs and %d inline contents", blobs, inline)
	}

	f, err := v.Open(ctx, "tree/deep/er/large", nil)
	e.check(err)
	e.check(v.Close())
	e.check(e.release(ctx)) // all but the content that is read
	var b bytes.Buffer
	if err := f.WriteRange(&b, 0, -1); err != nil || !bytes.Equal(b.Bytes(), data(4, blobSize)) {
		t.Errorf("a file that outlives its view: %v", err)
	}
	e.check(f.Close())
	for end := time.Now().Add(20 * time.Second); len(e.blobs()) != 3 && time.Now().Before(end); { // large, new, elsewhere
		e.idle()
	}
	if n := len(e.blobs()); n != 3 {
		t.Errorf("%d blobs are left", n)
	}
	marks, err := e.o.Index.Marks(ctx)
	e.check(err)
	if len(marks) != 0 {
		t.Errorf("marks %v are left", marks)
	}
	e.clean()
}

func TestAViewOfALargeDirectoryIsInOrder(t *testing.T) {
	e := newEnv(t, func(e *env) { e.names = namesLimits{large: 50, flush: 20, fanIn: 4, block: 1000, chunk: 512} })
	for i := range 1200 {
		if i%100 == 0 {
			e.put(fmt.Sprintf("big/%d/in", i), data(uint64(i), 10))
		} else {
			e.put(fmt.Sprintf("big/%d", i), data(uint64(i), 10))
		}
	}
	e.idle()
	v := e.view()
	for i := range 500 {
		e.check(e.Remove(ctx, fmt.Sprintf("big/%d", i), RemoveOptions{Recursive: true}))
	}
	if got := e.contentsOf(v); len(got) != 1+1200+12 {
		t.Errorf("the view shows %d entries", len(got))
	}
}

func TestWhatIsForgottenIsInNoView(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("patients/1/large", data(1, blobSize))
	e.put("patients/1/small", data(1, inlineSize))
	e.put("patients/2/large", data(2, blobSize))
	v := e.view()
	large, small := must(v.Stat(ctx, "patients/1/large")), must(v.Stat(ctx, "patients/1/small"))
	f, err := v.Open(ctx, "patients/1/large", nil)
	e.check(err)
	defer f.Close()
	e.forgetIt("patients/1")
	for path, ent := range map[string]*efs.Entry{"patients/1/large": &large, "patients/1/small": &small} {
		_, err := v.Open(ctx, path, ent)
		e.refused("opening "+path, err, efs.ErrForgotten)
	}
	_, err = f.ReadAt(make([]byte, 10), 0)
	e.refused("reading on", err, efs.ErrForgotten)
	if got := e.contentsOf(v); len(got) != 3 {
		t.Errorf("the view shows %v", slices.Collect(maps.Keys(got)))
	}
}

func TestAViewUnderWriters(t *testing.T) {
	e := newEnv(t)
	var writers sync.WaitGroup
	stop := make(chan struct{})
	for w := range 4 {
		writers.Go(func() {
			for i := uint64(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				path := fmt.Sprintf("w%d/%d", w, rand.IntN(20))
				var err error
				switch rand.IntN(5) {
				case 0:
					err = e.Remove(ctx, path, RemoveOptions{})
				case 1:
					_, err = e.Move(ctx, path, path+"m", MoveOptions{Overwrite: true})
				case 2:
					_, err = e.Put(ctx, path, bytes.NewReader(data(i, blobSize)), PutOptions{Size: -1})
				default:
					_, err = e.Put(ctx, path, bytes.NewReader(data(i, inlineSize)), PutOptions{Size: -1})
				}
				if err != nil && !errors.Is(err, efs.ErrNotFound) {
					t.Errorf("%s: %v", path, err)
					return
				}
			}
		})
	}
	type seen struct {
		seq uint64
		all map[string]string
	}
	var views []seen
	for range 8 {
		v := e.view()
		views = append(views, seen{v.Seq(), e.contentsOf(v)})
		e.check(v.Close())
	}
	close(stop)
	writers.Wait()
	// The change log, replayed, gives what each view showed.
	state, at := map[string]string{}, uint64(0)
	for _, v := range views {
		for at < v.seq {
			changes, err := e.Changes(ctx, at, int(min(v.seq-at, 500)))
			e.check(err)
			for _, c := range changes {
				if c.From != "" {
					delete(state, c.From)
				}
				delete(state, c.Path)
				if c.After != nil {
					state[c.Path] = fmt.Sprintf("%x", c.After.Digest)
				}
				at = c.Seq
			}
		}
		files := maps.Clone(v.all)
		maps.DeleteFunc(files, func(_, kind string) bool { return kind == "directory" })
		want := maps.Clone(state)
		maps.DeleteFunc(want, func(path, _ string) bool { return !strings.Contains(path, "/") })
		if !maps.Equal(files, want) {
			t.Errorf("the view of change %d shows %d files, the log gives %d", v.seq, len(files), len(want))
		}
	}
	e.idle()
	e.clean()
}

func TestAViewEndsWithItsFileSystem(t *testing.T) {
	e := newEnv(t)
	e.put("a", data(1, inlineSize))
	v := e.view()
	e.reopen()
	_, err := v.Stat(ctx, "a")
	e.refused("after closing", err, efs.ErrStopped)
	e.check(v.Close())
	e.holds("a", data(1, inlineSize))
}

// Marks expire by the clock. One that was put forward, or a process that was
// stopped for long, takes nothing from views of this process.
func TestAViewOutlivesItsMark(t *testing.T) {
	e := newEnv(t)
	e.put("large", data(1, blobSize))
	v := e.view()
	before := e.contentsOf(v)
	e.check(e.FS.o.Index.DropMark(ctx, efs.MarkHold, v.hold))
	e.put("large", data(2, blobSize))
	queue, err := e.FS.o.Index.Releasable(ctx, 10)
	e.check(err)
	if n, err := e.deleteContents(ctx, queue); len(queue) != 1 || n != 0 || err != nil {
		t.Errorf("of %d contents %d were deleted, %v", len(queue), n, err)
	}
	if got := e.contentsOf(v); !maps.Equal(got, before) {
		t.Errorf("the view shows %v, not %v", got, before)
	}
	e.check(v.Close())
	e.idle()
	if waiting, _, err := e.Releases(ctx, 10); waiting != 0 || err != nil {
		t.Errorf("%d contents wait to be deleted, %v", waiting, err)
	}
	e.clean()
}

// A hold that could not be renewed, as on a full volume, ends with its view: what
// was deleted meanwhile is what makes room.
func TestAViewThatLostItsHoldKeepsNothingWhenItIsClosed(t *testing.T) {
	e := newEnv(t)
	e.put("large", data(1, blobSize))
	v := e.view()
	v.lose(fmt.Errorf("as the test wants it: %w", efs.ErrNoSpace))
	e.check(e.Remove(ctx, "large", RemoveOptions{}))
	e.check(v.Close())
	for end := time.Now().Add(10 * time.Second); len(e.blobs()) > 0 && time.Now().Before(end); {
		e.idle()
	}
	if n := len(e.blobs()); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
	marks, err := e.o.Index.Marks(ctx)
	e.check(err)
	if len(marks) != 0 {
		t.Errorf("marks %v are left", marks)
	}
}
