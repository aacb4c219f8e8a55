package dir

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// BenchmarkSyncBesideUploads appends and syncs 4 KiB at a time, as the log of
// an index does, while four large blobs are being stored.
func BenchmarkSyncBesideUploads(b *testing.B) {
	s, err := Create(filepath.Join(b.TempDir(), "files"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	log, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	var uploads sync.WaitGroup
	var stored atomic.Int64
	stop := make(chan struct{})
	for range 4 {
		uploads.Go(func() { storeLarge(b, s, stop, &stored) })
	}
	took := make([]time.Duration, 0, 1024)
	record := make([]byte, 4<<10)
	began := time.Now()
	for b.Loop() {
		at := time.Now()
		if _, err := log.Write(record); err != nil {
			b.Fatal(err)
		}
		if err := log.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(at))
	}
	b.ReportMetric(float64(stored.Load())/1e6/time.Since(began).Seconds(), "uploadMB/s")
	close(stop)
	uploads.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// storeLarge stores blobs of 256 MiB and removes them until stop is closed.
func storeLarge(b *testing.B, s *Store, stop chan struct{}, stored *atomic.Int64) {
	piece := make([]byte, 512<<10)
	for {
		id := efs.NewID()
		w, err := s.Create(b.Context(), id)
		if err != nil {
			b.Error(err)
			return
		}
		for range (256 << 20) / len(piece) {
			select {
			case <-stop:
				w.Abort()
				return
			default:
			}
			if _, err := w.Write(piece); err != nil {
				b.Error(err)
			}
			stored.Add(int64(len(piece)))
		}
		if err := errors.Join(w.Commit(), s.Remove(b.Context(), id)); err != nil {
			b.Error(err)
			return
		}
	}
}

// BenchmarkMakeDirs makes the directories of one place, as settling the first
// blob of a directory does: what a store costs beyond BenchmarkStore, as often
// as there are directories.
func BenchmarkMakeDirs(b *testing.B) {
	s, err := Create(filepath.Join(b.TempDir(), "files"), Options{FanOut: maxFanOut})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for b.Loop() {
		path, _ := place(efs.NewID(), maxFanOut)
		if err := s.makeDirs(path); err != nil {
			b.Fatal(err)
		}
	}
}
