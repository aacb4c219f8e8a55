package fsys

import (
	"bytes"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"
)

// BenchmarkReadExtents reads a file of 64 MiB whole that was stored as one
// content, and that was uploaded in parts.
func BenchmarkReadExtents(b *testing.B) {
	const size = 64 << 20
	body := data(1, size)
	for _, parts := range []int{1, 4, 16, 64, 1000} {
		b.Run(fmt.Sprint(parts), func(b *testing.B) {
			e := newEnv(b, production)
			id := e.beginUpload("file")
			var all []UploadPart
			for i := range parts {
				all = append(all, e.part(id, i+1, body[i*size/parts:(i+1)*size/parts]))
			}
			e.complete(id, all...)
			b.SetBytes(size)
			began := cpu(b)
			for b.Loop() {
				f := must(e.Open(ctx, "file"))
				if err := f.WriteRange(io.Discard, 0, -1); err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
			b.ReportMetric((cpu(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// cpu is what this process has used of the processors, which others beside it
// hardly change.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPutPart stores a part of 1 MiB whose digest is carried on.
func BenchmarkPutPart(b *testing.B) {
	e := newEnv(b, production)
	body := data(1, 1<<20)
	b.SetBytes(1 << 20)
	id, n := e.beginUpload("file"), 0
	for b.Loop() {
		if n++; n > MaxParts {
			e.check(e.AbortUpload(ctx, id, alice))
			id, n = e.beginUpload("file"), 1
		}
		if _, err := e.PutPart(ctx, id, n, bytes.NewReader(body), PartOptions{Who: alice, Size: 1 << 20}); err != nil {
			b.Fatal(err)
		}
	}
}
