package bolt

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/indextest"
	"golang.org/x/sys/unix"
)

// BenchmarkCommit is what a store of 4 KiB asks of the index: an entry, a file
// record, an inline content, a change and the usage, from 16 clients.
func BenchmarkCommit(b *testing.B) {
	x, err := Create(filepath.Join(b.TempDir(), "index.db"), indextest.FS, sealer, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	inline, entry := make([]byte, 4600), make([]byte, 700)
	rand.Read(inline)
	b.SetParallelism(16 / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			file, content, dir, token := efs.NewTimeID(), efs.NewTimeID(), efs.ID{1}, efs.NewID()
			k := append(dir[:], token[:]...)
			_, err := x.Commit(context.Background(), &efs.Txn{
				Checks: []efs.Check{{Kind: efs.CheckVersion, Key: efs.Key{Space: efs.SpaceEntries, Bytes: k}}},
				Mutations: []efs.Mutation{
					{Key: efs.Key{Space: efs.SpaceEntries, Bytes: k}, Sealed: entry[:600]},
					{Key: efs.Key{Space: efs.SpaceFiles, Bytes: file[:]}, Sealed: entry[:80]},
					{Key: efs.Key{Space: efs.SpaceInline, Bytes: content[:]}, Sealed: inline},
				},
				Changes: [][]byte{entry},
				Usage:   []efs.Delta{{Account: indextest.FS, Bytes: 4096, Files: 1}},
			})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	s := x.Stats()
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(s.Transactions)/float64(s.Commits), "txns/commit")
}

// processorTime is what this process has used of it.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkGet looks up what opening a path needs: a place and an entry.
func BenchmarkGet(b *testing.B) {
	x, err := Create(filepath.Join(b.TempDir(), "index.db"), indextest.FS, sealer, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	txn := &efs.Txn{}
	var keys []efs.Key
	for range 20000 {
		id := efs.NewID()
		k := efs.Key{Space: efs.SpaceEntries, Bytes: append([]byte("directory id 16b"), id[:]...)}
		keys = append(keys, k)
		txn.Mutations = append(txn.Mutations, efs.Mutation{Key: k, Sealed: make([]byte, 300)})
	}
	place := efs.Key{Space: efs.SpacePlaces, Bytes: []byte("directory id 16b")}
	txn.Mutations = append(txn.Mutations, efs.Mutation{Key: place, Sealed: make([]byte, 60)})
	if _, err := x.Commit(context.Background(), txn); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := x.Get(context.Background(), place, keys[i%len(keys)]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
