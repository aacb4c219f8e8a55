package dir

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/efs-project/efs"
)

// A blob that is settled in the very moment in which it is opened is found:
// the kernel may answer EXDEV then, not ENOENT.
func TestOpenWhileSettling(t *testing.T) {
	s, err := Create(t.TempDir()+"/files", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	for range 300 {
		id := efs.NewID()
		b, err := s.Create(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write([]byte("sealed")); err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		var settled atomic.Bool
		var readers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				for again := true; again; again = !settled.Load() {
					f, err := s.Open(ctx, id)
					if err != nil {
						t.Error(err)
						return
					}
					_ = f.Close()
				}
			})
		}
		if err := s.Settle(ctx, id); err != nil {
			t.Error(err)
		}
		settled.Store(true)
		readers.Wait()
	}
}
