package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/indextest"
)

// TestBuiltIndexGoesOn makes an index from the records of a snapshot of
// another, as a restore does, and commits to it.
func TestBuiltIndexGoesOn(t *testing.T) {
	ctx := context.Background()
	x, err := Create(filepath.Join(t.TempDir(), "index.db"), indextest.FS, sealer, Options{})
	check(t, err)
	const n = 3000
	for i := range n {
		_, err := x.Commit(ctx, &efs.Txn{Changes: [][]byte{[]byte("c")}, Release: []efs.Release{{Content: efs.NewID()}}[:i%2], Mutations: []efs.Mutation{
			{Key: efs.Key{Space: efs.SpaceEntries, Bytes: fmt.Appendf(nil, "k%d", i)}, Sealed: make([]byte, 5000)}}})
		check(t, err)
	}
	s, err := x.Snapshot(ctx)
	check(t, err)
	defer s.Close()
	check(t, x.Close())

	path := filepath.Join(t.TempDir(), "index.db")
	b, err := Build(path, indextest.FS, sealer)
	check(t, err)
	if _, err := Build(path, indextest.FS, sealer); !errors.Is(err, efs.ErrExists) {
		t.Errorf("building where an index is: %v", err)
	}
	recs, err := s.Scan(ctx, efs.SpaceEntries, nil, nil, n+1)
	check(t, err)
	for _, r := range recs {
		check(t, b.Put(efs.Key{Space: efs.SpaceEntries, Bytes: r.Key}, r.Version, r.Sealed))
	}
	check(t, b.Put(efs.Key{Space: efs.SpaceEntries, Bytes: []byte("gone")}, 1, nil))
	check(t, b.Delete(efs.Key{Space: efs.SpaceEntries, Bytes: []byte("gone")}))
	queue, err := s.Queued(ctx, efs.Release{}, n)
	check(t, err)
	for _, r := range queue {
		check(t, b.Queue(r))
	}
	check(t, b.Unqueue(queue[0]))
	account := efs.NewID()
	check(t, b.SetUsage(account, efs.Usage{Bytes: 7, Files: 1}))
	check(t, b.Finish(s.Head()))

	y, err := Open(path, indextest.FS, sealer, Options{})
	check(t, err)
	defer func() { check(t, y.Close()) }()
	again, err := y.Scan(ctx, efs.SpaceEntries, nil, nil, n+1)
	check(t, err)
	if len(again) != n || again[5].Version != recs[5].Version {
		t.Errorf("%d records, version %d", len(again), again[5].Version)
	}
	if q, err := y.Queued(ctx, efs.Release{}, n); err != nil || len(q) != len(queue)-1 || q[0] != queue[1] {
		t.Errorf("queue of %d, %v", len(q), err)
	}
	if u, err := y.Usage(ctx, account); err != nil || u.Bytes != 7 {
		t.Errorf("usage %+v, %v", u, err)
	}
	if _, err := y.Changes(ctx, 10, 1); !errors.Is(err, efs.ErrLogTruncated) {
		t.Errorf("changes from before: %v", err)
	}
	done, err := y.Commit(ctx, &efs.Txn{Changes: [][]byte{[]byte("next")}})
	if err != nil || done.Seq != n+1 || done.Revision <= s.Head().Revision {
		t.Errorf("the next commit is %+v, %v", done, err)
	}
}

func TestAbortedBuildLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	b, err := Build(path, indextest.FS, sealer)
	check(t, err)
	check(t, b.Put(efs.Key{Space: efs.SpaceEntries, Bytes: []byte("k")}, 1, []byte("v")))
	b.Abort()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after aborting: %v", err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
