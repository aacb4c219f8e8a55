package fsys

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

// BenchmarkRange64K opens a file and reads 64 KiB from anywhere in it. It costs
// the same whatever the file's length is.
func BenchmarkRange64K(b *testing.B) {
	for _, mib := range []int64{4, 256} {
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) {
			e := newEnv(b, production)
			size := mib << 20
			body := io.LimitReader(rand.NewChaCha8([32]byte{}), size)
			if _, err := e.Put(ctx, "file", body, PutOptions{Size: size}); err != nil {
				b.Fatal(err)
			}
			const n = 64 << 10
			b.SetBytes(n)
			b.ReportAllocs()
			for b.Loop() {
				f, err := e.Open(ctx, "file")
				if err != nil {
					b.Fatal(err)
				}
				if err := f.WriteRange(io.Discard, rand.Int64N(size-n), n); err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

// BenchmarkPut1M stores files of 1 MiB from 16 clients.
func BenchmarkPut1M(b *testing.B) {
	e := newEnv(b, production)
	body := data(1, 1<<20)
	var n atomic.Int64
	b.SetParallelism(8)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := e.Put(ctx, fmt.Sprintf("file-%d", n.Add(1)), bytes.NewReader(body), PutOptions{Size: 1 << 20}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
