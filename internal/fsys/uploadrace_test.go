package fsys

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/efs-project/efs"
)

// Of completions, an abort and another part of one upload at the same time, one
// ending wins: the file has exactly the parts that its completion named, or is
// not there, and nothing else is left.
func TestOneUploadIsEndedOnce(t *testing.T) {
	e := newEnv(t)
	one, two, other := data(1, blobSize), data(2, 3000), data(3, 4000)
	for range 15 {
		up, err := e.BeginUpload(ctx, "d/f", UploadOptions{Who: alice})
		if err != nil {
			t.Fatal(err)
		}
		parts := []UploadPart{e.part(up.ID, 1, one), e.part(up.ID, 2, two)}
		var mu sync.Mutex
		var completed, ended int
		var all sync.WaitGroup
		end := func(do func() error, completes bool) {
			all.Go(func() {
				err := do()
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && completes:
					completed++
					ended++
				case err == nil:
					ended++
				case !errors.Is(err, efs.ErrNotFound) && !errors.Is(err, ErrParts):
					t.Error(err)
				}
			})
		}
		for range 2 {
			end(func() error {
				_, err := e.CompleteUpload(ctx, up.ID, CompleteOptions{Who: alice, Parts: parts})
				return err
			}, true)
		}
		end(func() error { return e.AbortUpload(ctx, up.ID, alice) }, false)
		all.Go(func() {
			_, err := e.PutPart(ctx, up.ID, 2, bytes.NewReader(other), PartOptions{Who: alice, Size: -1})
			if err != nil && !errors.Is(err, efs.ErrNotFound) {
				t.Error(err)
			}
		})
		all.Wait()
		f, err := e.Open(ctx, "d/f")
		if completed > 1 || ended == 0 || (err == nil) != (completed == 1) {
			t.Fatalf("%d completions, %d endings; %v", completed, ended, err)
		}
		if err == nil {
			b, rerr := io.ReadAll(io.NewSectionReader(f, 0, f.Entry().Size))
			if rerr != nil || !bytes.Equal(b, slices.Concat(one, two)) {
				t.Errorf("%d bytes, %v", len(b), rerr)
			}
			_ = f.Close()
			if err := e.Remove(ctx, "d/f", RemoveOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
	e.nothingOpen()
}
