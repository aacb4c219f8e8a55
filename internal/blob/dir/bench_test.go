package dir

import (
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
)

// BenchmarkStore stores blobs of 64 KiB from 16 clients.
func BenchmarkStore(b *testing.B) {
	s, err := Create(filepath.Join(b.TempDir(), "files"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	content := make([]byte, 64<<10)
	b.SetBytes(int64(len(content)))
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := efs.NewID()
			w, err := s.Create(b.Context(), id)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := w.Write(content); err != nil {
				b.Error(err)
			}
			if err := w.Commit(); err != nil {
				b.Error(err)
			}
			if err := s.Settle(b.Context(), id); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkOpen opens and closes a settled blob.
func BenchmarkOpen(b *testing.B) {
	s, err := Create(filepath.Join(b.TempDir(), "files"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	id := efs.NewID()
	w, err := s.Create(b.Context(), id)
	if err != nil {
		b.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		b.Fatal(err)
	}
	if err := s.Settle(b.Context(), id); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Open(b.Context(), id)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
