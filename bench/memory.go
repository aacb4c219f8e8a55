package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// Memory is how much anonymous memory EFS took at most: pages that the kernel
// cannot take back, which leaves out files that are mapped into memory.
type Memory struct {
	Idle        int64 `json:"idle_bytes"`
	Uploads     int   `json:"uploads"`
	UploadSize  int64 `json:"upload_bytes"`
	UploadsPeak int64 `json:"uploads_peak_bytes"`
	Small       int64 `json:"small_file_bytes"`
	SmallPeak   int64 `json:"small_file_peak_bytes"`
	Large       int64 `json:"large_file_bytes"`
	LargePeak   int64 `json:"large_file_peak_bytes"`
}

func (m *Memory) String() string {
	return fmt.Sprintf("idle %s; %d uploads of %s at once %s; a file of %s stored and read %s, of %s %s", size(m.Idle),
		m.Uploads, size(m.UploadSize), size(m.UploadsPeak), size(m.Small), size(m.SmallPeak), size(m.Large), size(m.LargePeak))
}

// memory watches servers that have done nothing else.
func (b *bench) memory(ctx context.Context) error {
	m := &Memory{Uploads: 16, UploadSize: 1 << 30, Small: 100 << 20, Large: 10 << 30}
	if b.quick {
		m.UploadSize, m.Large = 128<<20, 1<<30
	}
	var err error
	if m.Idle, err = b.peak(ctx, nil, 0, 0); err != nil {
		return err
	}
	many := Work{Name: "memory", Method: http.MethodPut, Size: m.UploadSize, Clients: m.Uploads}
	if m.UploadsPeak, err = b.peak(ctx, &many, 0, m.UploadSize); err != nil {
		return err
	}
	one := Work{Name: "memory", Method: http.MethodPut, Size: m.Small, Clients: 1}
	if m.SmallPeak, err = b.peak(ctx, &one, 1, m.Small); err != nil {
		return err
	}
	one.Size = m.Large
	if m.LargePeak, err = b.peak(ctx, &one, 1, m.Large); err != nil {
		return err
	}
	b.rep.Memory = m
	b.say("memory     %s", m)
	return nil
}

// peak starts a server, lets w's clients store an object each, reads the first
// of them so many times, and returns the largest size that the server had.
func (b *bench) peak(ctx context.Context, w *Work, reads int, objectSize int64) (int64, error) {
	dir, err := os.MkdirTemp(b.dir, "memory-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	e := &efsServer{bin: b.bin}
	defer e.Stop()
	if err := e.Start(ctx, dir); err != nil {
		return 0, fmt.Errorf("starting efs: %w", err)
	}
	if w == nil {
		return anonRSS(e.PID()), nil
	}
	drain()
	stop := peakRSS(e.PID())
	defer stop()
	var seq atomic.Int64
	if _, _, err := upload(ctx, e, *w, &seq); err != nil {
		return 0, err
	}
	for range reads {
		err := each(ctx, e, 1, 1, 1, func(n int64) request {
			return request{method: http.MethodGet, key: w.key(n), object: n, size: objectSize, check: true}
		})
		if err != nil {
			return 0, err
		}
	}
	return stop(), nil
}

// peakRSS samples the anonymous memory of a process until stop is called,
// which returns the largest value seen, in bytes.
func peakRSS(pid int) (stop func() int64) {
	ctx, cancel := context.WithCancel(context.Background())
	var peak int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, anonRSS(pid))
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() int64 { cancel(); <-done; return peak }
}

// anonRSS reads RssAnon of proc_pid_status(5), in bytes.
func anonRSS(pid int) int64 {
	b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "status"))
	if err != nil {
		return 0
	}
	var kb int64
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			fmt.Sscan(rest, &kb)
		}
	}
	return kb << 10
}

// size writes a number of bytes for people.
func size(n int64) string {
	for _, u := range []struct {
		of   int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.of {
			if n%u.of == 0 {
				return fmt.Sprintf("%d %s", n/u.of, u.name)
			}
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.of), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
