package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// diskRound is what the disk takes of w: as many plain writers as w has
// clients, each writing files of w's size, and each file synced with
// fdatasync(2) before the next. Nothing is encrypted or sent.
func diskRound(ctx context.Context, dir string, w Work, d time.Duration) (Result, error) {
	tallies := make([]tally, w.Clients)
	defer func() { // after the time was taken
		files, _ := filepath.Glob(filepath.Join(dir, "disk-*")) // the pattern is well-formed
		for _, f := range files {
			os.Remove(f)
		}
	}()
	own := ownCPU()
	var wg sync.WaitGroup
	start := time.Now()
	for i := range w.Clients {
		wg.Go(func() {
			y := &tallies[i]
			for n := 0; time.Since(start) < d && ctx.Err() == nil; n++ {
				at := time.Now()
				if err := writeSynced(filepath.Join(dir, fmt.Sprintf("disk-%d-%d", i, n)), int64(n), w.Size); err != nil {
					y.errors, y.first = 1, err.Error()
					return
				}
				y.times.Add(time.Since(at))
			}
		})
	}
	wg.Wait()
	res := summary(tallies)
	res.Elapsed, res.ServerCPU = time.Since(start), ownCPU()-own
	return res, ctx.Err()
}

func writeSynced(name string, object, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for at := int64(0); at < size; {
		n := int(min(size-at, patternPiece))
		if _, err := f.Write(piece(object, at, n)); err != nil {
			return err
		}
		at += int64(n)
	}
	return syscall.Fdatasync(int(f.Fd()))
}
