package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// bar tells on a terminal how much has come out. The library that other
// commands use for it brings an HTTP server along.
type bar struct {
	out   io.Writer
	shown bool // on a terminal, and wanted
	start time.Time
	last  time.Time
	n     int64
}

func newBar(out io.Writer, quiet bool) *bar {
	f, ok := out.(*os.File)
	return &bar{out: out, shown: ok && !quiet && term.IsTerminal(int(f.Fd())), start: time.Now()}
}

// add tells of n more bytes.
func (b *bar) add(n int64) {
	b.n += n
	if !b.shown || time.Since(b.last) < 200*time.Millisecond {
		return
	}
	b.last = time.Now()
	rate := float64(b.n) / max(time.Since(b.start).Seconds(), 0.001)
	fmt.Fprintf(b.out, "\r\x1b[K%d MiB, %.0f MiB/s", b.n>>20, rate/(1<<20))
}

// say prints a line without spoiling what is shown.
func (b *bar) say(format string, args ...any) {
	b.clear()
	fmt.Fprintf(b.out, format+"\n", args...)
}

// clear takes away what is shown.
func (b *bar) clear() {
	if b.shown {
		fmt.Fprint(b.out, "\r\x1b[K")
		b.last = time.Time{}
	}
}
