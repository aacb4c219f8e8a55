package fsys

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/efs-project/efs"
)

func production(e *env) { e.policy = efs.DefaultPolicy() }

func BenchmarkPut4K(b *testing.B) {
	e := newEnv(b, production)
	body := data(1, 4096)
	var n atomic.Int64
	b.SetParallelism(8)
	b.SetBytes(4096)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			_, err := e.Put(ctx, fmt.Sprintf("dir-%d/file-%d", i%100, i), bytes.NewReader(body), PutOptions{Size: 4096})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkGet4K(b *testing.B) {
	e := newEnv(b, production)
	const files = 1000
	for i := range files {
		e.put(fmt.Sprintf("dir-%d/file-%d", i%10, i), data(uint64(i), 4096))
	}
	var n atomic.Int64
	b.SetParallelism(8)
	b.SetBytes(4096)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1) % files
			f, err := e.Open(ctx, fmt.Sprintf("dir-%d/file-%d", i%10, i))
			if err == nil {
				err = f.WriteRange(io.Discard, 0, -1)
				f.Close()
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkPageOfALargeDirectory(b *testing.B) {
	e := newEnv(b, production)
	const files = 20_000
	together(64, func(i int) {
		for k := i; k < files; k += 64 {
			e.put(fmt.Sprintf("large/%08x.txt", uint32(k)*2654435761), nil) // in no order
		}
	})
	e.namesIdle()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		after := fmt.Sprintf("%08x", uint32(i)*2654435761/2) // of the first half
		if page, _, err := e.List(ctx, "large", ListOptions{After: after}); err != nil || len(page) != DefaultListLimit {
			b.Fatalf("%d names, %v", len(page), err)
		}
	}
}
