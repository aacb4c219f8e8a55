package latency

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestBuckets: buckets adjoin, each holds its upper bound, and none is wider
// than promised.
func TestBuckets(t *testing.T) {
	for i := range buckets - sub { // the last ones are beyond an int64
		u := uint64(upper(i))
		if bucket(u) != i {
			t.Fatalf("the upper bound %d of bucket %d is counted in %d", u, i, bucket(u))
		}
		if bucket(u+1) != i+1 {
			t.Fatalf("%d follows bucket %d and is counted in %d", u+1, i, bucket(u+1))
		}
		if i > 0 {
			if width := u - uint64(upper(i-1)); width > 1 && float64(width) > Precision*float64(u) {
				t.Fatalf("bucket %d ends at %d and is %d wide", i, u, width)
			}
		}
	}
	if b := bucket(math.MaxInt64); b >= buckets {
		t.Errorf("the longest duration is counted in %d of %d", b, buckets)
	}
}

func TestQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var whole, a, b Histogram
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(math.Exp(rng.Float64() * 20))
		all = append(all, d)
		whole.Add(d)
		if rng.IntN(3) == 0 {
			a.Add(d)
		} else {
			b.Add(d)
		}
	}
	slices.Sort(all)
	a.Merge(&b)
	if a != whole {
		t.Error("two halves merged are not the whole")
	}
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
		exact := all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
		got := whole.Quantile(q)
		if got < exact || float64(got) > float64(exact)*(1+Precision)+1 {
			t.Errorf("quantile %v: %d, exactly %d", q, got, exact)
		}
	}
	if whole.Min() != all[0] || whole.Max() != all[len(all)-1] || whole.Count() != int64(len(all)) {
		t.Errorf("min %v, max %v, count %d", whole.Min(), whole.Max(), whole.Count())
	}
	var n int64
	last := time.Duration(-1)
	for _, bar := range whole.Bars() {
		if last >= 0 && bar.From != last {
			t.Errorf("a bar begins at %v, the one before ends at %v", bar.From, last)
		}
		exact := int64(0)
		for _, d := range all {
			if bar.From <= max(d, 1) && d < bar.To {
				exact++
			}
		}
		if bar.Count != exact {
			t.Errorf("the bar from %v to %v counts %d, exactly %d", bar.From, bar.To, bar.Count, exact)
		}
		n, last = n+bar.Count, bar.To
	}
	if n != whole.Count() {
		t.Errorf("the bars count %d of %d", n, whole.Count())
	}
}

func TestEmpty(t *testing.T) {
	var h, other Histogram
	h.Merge(&other)
	if h.Quantile(0.5) != 0 || h.Mean() != 0 || h.Max() != 0 || h.Bars() != nil {
		t.Error("an empty histogram tells something")
	}
	h.Add(-time.Second)
	if h.Count() != 1 || h.Quantile(1) != 0 {
		t.Error("a negative duration is not counted as 0")
	}
	if bars := h.Bars(); len(bars) != 1 || bars[0].Count != 1 {
		t.Errorf("bars of one zero: %v", bars)
	}
}
