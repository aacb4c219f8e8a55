package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/efs-project/efs/internal/bytesize"
	"github.com/efs-project/efs/internal/connect"
)

// result is what a run found, as --json prints it.
type result struct {
	Remote  string   `json:"remote"`
	Mode    string   `json:"mode"`
	Size    int64    `json:"size_bytes"`
	Clients int      `json:"clients"`
	Seconds float64  `json:"seconds"`
	Store   *outcome `json:"store,omitempty"`
	Read    *outcome `json:"read,omitempty"`
}

// outcome is what became of the requests of one kind. Times are nanoseconds.
type outcome struct {
	Requests int64   `json:"requests"`
	Errors   int64   `json:"errors"`
	Rate     float64 `json:"requests_per_second"`
	Bytes    float64 `json:"bytes_per_second"`

	Mean time.Duration `json:"mean_ns"`
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`

	Histogram []bar `json:"histogram"`
}

// bar counts the requests that took at least From and less than To.
type bar struct {
	From  time.Duration `json:"from_ns"`
	To    time.Duration `json:"to_ns"`
	Count int64         `json:"count"`
}

func (l *load) result() *result {
	t := l.total()
	return &result{
		Remote: l.s.remote, Mode: l.s.mode, Size: l.s.size, Clients: l.s.clients, Seconds: l.elapsed.Seconds(),
		Store: t.store.outcome(l), Read: t.read.outcome(l),
	}
}

// outcome is nil where nothing of the kind was asked for.
func (k *kind) outcome(l *load) *outcome {
	h := &k.times
	if h.Count()+k.errors == 0 {
		return nil
	}
	rate := float64(h.Count()) / l.elapsed.Seconds()
	o := &outcome{
		Requests: h.Count(), Errors: k.errors, Rate: rate, Bytes: rate * float64(l.s.size),
		Mean: h.Mean(), P50: h.Quantile(0.5), P90: h.Quantile(0.9), P99: h.Quantile(0.99), P999: h.Quantile(0.999), Max: h.Max(),
	}
	for _, b := range h.Bars() {
		o.Histogram = append(o.Histogram, bar(b))
	}
	return o
}

func (r *result) errors() (n int64) {
	for _, o := range []*outcome{r.Store, r.Read} {
		if o != nil {
			n += o.Errors
		}
	}
	return n
}

// print writes the result for people.
func (r *result) print(w io.Writer, o connect.Options) error {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s, %d clients, %s on %s (%s@%s at %s)\n", r.Mode, bytesize.Size(r.Size), r.Clients,
		time.Duration(r.Seconds*1e9).Round(100*time.Millisecond), r.Remote, o.User, o.FS, o.URL)
	for _, k := range []struct {
		name string
		*outcome
	}{{"stored", r.Store}, {"read", r.Read}} {
		if k.outcome == nil {
			continue
		}
		fmt.Fprintf(&s, "\n%s  %d files, %.0f/s, %s, %d errors\n", k.name, k.Requests, k.Rate, megabytes(k.Bytes), k.Errors)
		fmt.Fprintf(&s, "took  mean %s, p50 %s, p90 %s, p99 %s, p99.9 %s, longest %s\n\n", short(k.Mean), short(k.P50), short(k.P90), short(k.P99), short(k.P999), short(k.Max))
		if err := k.histogram(&s); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, s.String())
	return err
}

const barWidth = 50

// histogram draws how many requests took how long.
func (o *outcome) histogram(w io.Writer) error {
	var most int64
	for _, b := range o.Histogram {
		most = max(most, b.Count)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, b := range o.Histogram {
		width := int(b.Count * barWidth / max(1, most))
		if b.Count > 0 {
			width = max(1, width)
		}
		fmt.Fprintf(tw, "up to %s\t%d\t%.2f %%\t  %s\n", short(b.To), b.Count, 100*float64(b.Count)/float64(max(1, o.Requests)), strings.Repeat("█", width))
	}
	return tw.Flush()
}

func megabytes(perSecond float64) string {
	if perSecond < 10<<20 {
		return fmt.Sprintf("%.1f MiB/s", perSecond/(1<<20))
	}
	return fmt.Sprintf("%.0f MiB/s", perSecond/(1<<20))
}

// short writes a duration with three digits or so.
func short(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
