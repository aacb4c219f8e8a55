package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/efs-project/efs/internal/latency"
)

// progress is one line that is drawn anew, where somebody can see it.
type progress struct {
	out   io.Writer // nil: nobody
	s     *settings
	count int64 // at the last drawing
	at    time.Duration
}

func newProgress(f *os.File, s *settings) *progress {
	if !term.IsTerminal(int(f.Fd())) {
		return &progress{s: s}
	}
	return &progress{out: f, s: s}
}

// draw shows the rate since the last drawing and the latencies since the start.
func (p *progress) draw(elapsed time.Duration, w *worker) {
	if p.out == nil {
		return
	}
	var all latency.Histogram
	all.Merge(&w.store.times)
	all.Merge(&w.read.times)
	rate := float64(all.Count()-p.count) / (elapsed - p.at).Seconds()
	p.count, p.at = all.Count(), elapsed
	fmt.Fprintf(p.out, "\r\x1b[K%s of %s  %.0f/s  %s  p50 %s  p99 %s  errors %d", elapsed.Round(time.Second), p.s.duration,
		rate, megabytes(rate*float64(p.s.size)), short(all.Quantile(0.5)), short(all.Quantile(0.99)), w.store.errors+w.read.errors)
}

// end leaves no trace of the line.
func (p *progress) end() {
	if p.out != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
