package bolt

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/indextest"
)

// TestMapGrowsUnderReaders fills the file beyond its map, which bbolt makes
// longer when no reader is left, while readers come and go.
func TestMapGrowsUnderReaders(t *testing.T) {
	usual := leastMap
	t.Cleanup(func() { leastMap = usual })
	leastMap = 0
	for name, o := range map[string]Options{"log": {}, "direct": unlogged} {
		t.Run(name, func(t *testing.T) {
			x, err := Create(filepath.Join(t.TempDir(), "index.db"), indextest.FS, sealer, o)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			var readers sync.WaitGroup
			for range 3 {
				readers.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						if _, err := x.Scan(context.Background(), efs.SpaceInline, nil, nil, 50); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			const records = 40
			for i := range 12 { // 48 MiB
				var m []efs.Mutation
				for n := range records {
					m = append(m, efs.Mutation{Key: efs.Key{Space: efs.SpaceInline, Bytes: fmt.Appendf(nil, "%d-%d", i, n)}, Sealed: make([]byte, 100<<10)})
				}
				mustCommit(t, x, &efs.Txn{Mutations: m})
			}
			close(done)
			readers.Wait()
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
