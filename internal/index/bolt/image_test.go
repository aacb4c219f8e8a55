package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/indextest"
)

// TestSnapshotsBesideCompactions takes snapshots while the file is compacted
// again and again, and the log is flushed: each shows every transaction up to
// its head and none after.
func TestSnapshotsBesideCompactions(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "index.db")
	x, err := Create(path, indextest.FS, sealer, Options{})
	check(t, err)
	defer func() { check(t, x.Close()) }()
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			key := efs.Key{Space: efs.SpaceEntries, Bytes: fmt.Appendf(nil, "k%d", i%500)}
			_, err := x.Commit(ctx, &efs.Txn{Changes: [][]byte{[]byte("c")}, Mutations: []efs.Mutation{
				{Key: key, Sealed: fmt.Appendf(make([]byte, 0, 9000), "%8999d", i+1)}}})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := x.Compact(ctx); err != nil && !errors.Is(err, errGivenUp) {
				t.Error(err)
				return
			}
		}
	})
	for range 15 {
		s, err := x.Snapshot(ctx)
		check(t, err)
		recs, err := s.Scan(ctx, efs.SpaceEntries, nil, nil, 1000)
		check(t, err)
		newest := 0
		for _, r := range recs {
			var n int
			if _, err := fmt.Sscan(string(r.Sealed), &n); err != nil {
				t.Fatal(err)
			}
			newest = max(newest, n)
		}
		if seq := int(s.Head().Seq); newest != seq || len(recs) != min(seq, 500) {
			t.Errorf("snapshot of change %d shows %d records, the newest of change %d", seq, len(recs), newest)
		}
		check(t, s.Close())
	}
	close(stop)
	others.Wait()
	if x.Stats().Compactions == 0 {
		t.Error("nothing was compacted")
	}
	if _, err := os.Stat(snapshotPath(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file is left: %v", err)
	}
}

func TestSnapshotThatFailsLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	broken := errors.New("broken")
	failing := false
	x, err := Create(path, indextest.FS, sealer, Options{Fault: func(step string) error {
		if failing && step == "snapshot" {
			return broken
		}
		return nil
	}})
	check(t, err)
	failing = true
	if _, err := x.Snapshot(t.Context()); !errors.Is(err, broken) {
		t.Errorf("no error but %v", err)
	}
	failing = false
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Snapshot(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("no error but %v", err)
	}
	mustCommit(t, x, &efs.Txn{Changes: [][]byte{[]byte("c")}})
	check(t, x.Close()) // waits for readers: none is left
	// What a crash leaves between making the file and taking its name away.
	check(t, os.WriteFile(snapshotPath(path), []byte("half"), 0o600))
	x, err = Open(path, indextest.FS, sealer, Options{})
	check(t, err)
	if _, err := os.Stat(snapshotPath(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	check(t, x.Close())
}
