package fsys

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/efs-project/efs"
	"pgregory.net/rapid"
)

func TestRangesAreSlices(t *testing.T) {
	e := newEnv(t)
	for _, n := range []int{0, inlineSize, blobSize} {
		want := data(1, n)
		e.put("f", want)
		f, err := e.Open(ctx, "f")
		e.check(err)
		rapid.Check(t, func(t *rapid.T) {
			off := rapid.IntRange(0, n).Draw(t, "off")
			m := rapid.IntRange(0, n-off).Draw(t, "n")
			var b bytes.Buffer
			if err := f.WriteRange(&b, int64(off), int64(m)); err != nil || !bytes.Equal(b.Bytes(), want[off:off+m]) {
				t.Fatalf("range %d+%d: %d bytes, %v", off, m, b.Len(), err)
			}
			got := make([]byte, m+1)
			k, err := f.ReadAt(got, int64(off))
			if end := off+m+1 > n; end != (err == io.EOF) || !bytes.Equal(got[:k], want[off:min(off+m+1, n)]) {
				t.Fatalf("ReadAt %d+%d: %d bytes, %v", off, m+1, k, err)
			}
		})
		if err := iotest.TestReader(io.NewSectionReader(f, 0, f.Size()), want); err != nil {
			t.Error(err)
		}
		for _, r := range [][2]int64{{-1, 1}, {0, int64(n) + 1}, {int64(n) + 1, 0}, {int64(n), 1}} {
			e.refused("range outside", f.WriteRange(io.Discard, r[0], r[1]), efs.ErrBadInput)
		}
		broken := errors.New("receiver gone")
		if n > 0 {
			e.refused("receiver's error", f.WriteRange(failing{broken}, 0, -1), broken)
		}
		e.check(f.Close())
		e.check(f.Close())
	}
}

type failing struct{ err error }

func (w failing) Write([]byte) (int, error) { return 0, w.err }

// A reader that began before a file was replaced or deleted reads on in what
// it opened, and only when it is closed do the contents go.
func TestAnOpenFileOutlivesItsPath(t *testing.T) {
	for _, n := range []int{inlineSize, blobSize} {
		e := newEnv(t)
		want := data(1, n)
		e.put("dir/f", want)
		f, err := e.Open(ctx, "dir/f")
		e.check(err)
		e.put("dir/f", data(2, n))
		e.check(e.Remove(ctx, "dir", RemoveOptions{Recursive: true}))
		e.check(e.reap(ctx))
		e.check(e.release(ctx))
		if queue, err := e.o.Index.Queued(ctx, efs.Release{}, 10); err != nil || len(queue) != 1 {
			t.Errorf("%d contents wait for release, %v; want the one being read", len(queue), err)
		}
		var b bytes.Buffer
		if err := f.WriteRange(&b, 0, -1); err != nil || !bytes.Equal(b.Bytes(), want) {
			t.Errorf("read %d bytes, %v", b.Len(), err)
		}
		e.check(f.Close())
		e.idle()
		if n := len(e.blobs()) + e.records(efs.SpaceInline); n != 0 {
			t.Errorf("%d contents are left", n)
		}
	}
}

// Many pinned contents at the front of the queue do not keep the rest.
func TestReleaseLooksPastPinnedContents(t *testing.T) {
	e := newEnv(t)
	var open []*File
	for range 300 {
		e.put("pinned", []byte("x"))
		f, err := e.Open(ctx, "pinned")
		e.check(err)
		open = append(open, f)
	}
	e.put("pinned", []byte("y"))
	e.put("free", []byte("x"))
	e.check(e.Remove(ctx, "free", RemoveOptions{}))
	e.check(e.release(ctx))
	if n := e.records(efs.SpaceInline); n != 301 {
		t.Errorf("%d inline contents, want 300 pinned and one in use", n)
	}
	for _, f := range open {
		e.check(f.Close())
	}
	e.idle()
	if n := e.records(efs.SpaceInline); n != 1 {
		t.Errorf("%d inline contents are left", n)
	}
}

func TestAHoldKeepsReleasedContents(t *testing.T) {
	e := newEnv(t)
	e.put("f", data(1, blobSize))
	h, err := e.Head(ctx)
	e.check(err)
	e.check(e.o.Index.SetMark(ctx, efs.Mark{Kind: efs.MarkHold, Name: "backup", Seq: h.Seq}))
	e.put("f", data(2, blobSize))
	e.check(e.release(ctx))
	if n := len(e.blobs()); n != 2 {
		t.Errorf("%d blobs under a hold, want both", n)
	}
	e.check(e.o.Index.DropMark(ctx, efs.MarkHold, "backup"))
	e.idle()
	if n := len(e.blobs()); n != 1 {
		t.Errorf("%d blobs after the hold", n)
	}
}
