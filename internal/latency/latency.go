// Package latency keeps how long things took in a histogram of constant size,
// so that millions of measurements cost no memory and few nanoseconds each.
package latency

import (
	"math"
	"math/bits"
	"time"
)

// Precision is how far a quantile may lie above the exact one, relative to it:
// a bucket is at most this wide.
const Precision = 1.0 / sub

// The buckets are linear within each power of two, as those of HdrHistogram
// (Tene, 2012): values below 2*sub nanoseconds have one each, others share one
// with those that agree in the highest subBits+1 bits.
const (
	subBits = 6
	sub     = 1 << subBits
	buckets = (64 - subBits) * sub
)

// Histogram counts durations. The zero value is empty and ready. It is used by
// one goroutine at a time; let each have its own, and Merge them.
type Histogram struct {
	counts [buckets]int64
	n      int64
	sum    float64 // nanoseconds
	min    time.Duration
	max    time.Duration
}

// Add counts d; a negative one counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.n++
	h.sum += float64(d)
	h.counts[bucket(uint64(d))]++
}

// Merge adds what other counted.
func (h *Histogram) Merge(other *Histogram) {
	if other.n == 0 {
		return
	}
	if h.n == 0 || other.min < h.min {
		h.min = other.min
	}
	h.max = max(h.max, other.max)
	h.n += other.n
	h.sum += other.sum
	for i, c := range other.counts {
		h.counts[i] += c
	}
}

// Count returns how many durations were counted.
func (h *Histogram) Count() int64 { return h.n }

// Min, Max and Mean are exact, and 0 if nothing was counted.
func (h *Histogram) Min() time.Duration { return h.min }

// Max is the longest duration.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean is the average duration.
func (h *Histogram) Mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.n))
}

// Quantile returns a duration that the share q (0 to 1) of those counted does
// not exceed, at most Precision above the smallest such, and 0 if nothing was
// counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(1, int64(math.Ceil(q*float64(h.n))))
	var seen int64
	for i, c := range h.counts {
		if seen += c; c > 0 && seen >= rank {
			return min(h.max, upper(i))
		}
	}
	return h.max
}

// Bar is a row of a drawn histogram: how many durations were at least From
// and shorter than To; none at all count with those of 1 ns.
type Bar struct {
	From, To time.Duration
	Count    int64
}

// Bars returns the histogram in powers of two, from the one that holds the
// shortest to the one that holds the longest.
func (h *Histogram) Bars() []Bar {
	var bars []Bar
	for i, c := range h.counts {
		if c == 0 {
			continue
		}
		low := 1 << (bits.Len64(uint64(max(1, upper(i)))) - 1)
		for len(bars) > 0 && int(bars[len(bars)-1].To) <= low {
			to := bars[len(bars)-1].To
			bars = append(bars, Bar{From: to, To: 2 * to})
		}
		if len(bars) == 0 {
			bars = append(bars, Bar{From: time.Duration(low), To: time.Duration(2 * low)})
		}
		bars[len(bars)-1].Count += c
	}
	return bars
}

// bucket returns where v is counted.
func bucket(v uint64) int {
	if v < 2*sub {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift*sub + int(v>>shift)
}

// upper returns the largest value that bucket i counts.
func upper(i int) time.Duration {
	if i < 2*sub {
		return time.Duration(i)
	}
	shift := i/sub - 1
	return time.Duration((uint64(i-shift*sub)+1)<<shift - 1)
}
