package main

import (
	"os"
	"runtime/debug"
)

// What is alive in a serving process is a few MiB, so the collector's default
// of doubling that would run it many times a second: at 4 KiB requests it cost
// a third of the throughput. Garbage may grow to eight times what is alive, and
// the collector hurries as the whole approaches memorySoft bytes.
const (
	garbagePercent = 800
	memorySoft     = 112 << 20
)

// tuneMemory sets the above where GOGC and GOMEMLIMIT do not.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memorySoft)
	}
}
