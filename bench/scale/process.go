package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// userHz is how many ticks of processor time /proc counts a second.
const userHz = 100

// cpu is the processor time that a process has used, user and system.
func cpu(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name may hold spaces
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * time.Second / userHz
}

// anonRSS is the anonymous resident memory of a process in bytes: without
// pages of files mapped into it, which the kernel can take back.
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

// gauge follows the memory of a process until it is closed.
type gauge struct {
	peak atomic.Int64
	end  chan struct{}
}

func watch(pid int) *gauge {
	g := &gauge{end: make(chan struct{})}
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			g.peak.Store(max(g.peak.Load(), anonRSS(pid)))
			select {
			case <-tick.C:
			case <-g.end:
				return
			}
		}
	}()
	return g
}

func (g *gauge) close() { close(g.end) }
