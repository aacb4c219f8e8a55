package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// peakRSS samples the resident memory of a process until stop is called and
// returns the largest value seen, in bytes: anonymous pages, which leave out
// files mapped into memory that the kernel can take back.
func peakRSS(pid int) (stop func() int64) {
	ctx, cancel := context.WithCancel(context.Background())
	peak := make(chan int64, 1)
	go func() {
		var m int64
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			m = max(m, anonRSS(pid))
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				peak <- m
				return
			}
		}
	}()
	return func() int64 { cancel(); return <-peak }
}

func anonRSS(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
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
