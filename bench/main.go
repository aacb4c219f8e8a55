// Command bench measures EFS beside MinIO with server-side encryption and
// nginx (no encryption, no sync: the ceiling) on one machine, in interleaved
// rounds, and prints rates and ratios. `make bench` runs it.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

var works = []Work{
	{"store-4k", http.MethodPut, 4 << 10, 16, 0},
	{"read-4k", http.MethodGet, 4 << 10, 16, 5000},
	{"store-1m", http.MethodPut, 1 << 20, 16, 0},
	{"read-1m", http.MethodGet, 1 << 20, 16, 200},
	{"store-64m", http.MethodPut, 64 << 20, 4, 0},
	{"read-64m", http.MethodGet, 64 << 20, 4, 8},
}

// Report is what a run found, as written to the results file.
type Report struct {
	Time    time.Time                      `json:"time"`
	Build   string                         `json:"efs_build"`
	Rounds  int                            `json:"rounds"`
	Seconds float64                        `json:"seconds_each"`
	Results map[string]map[string][]Result `json:"results"` // work → target → rounds
	PeakRSS map[string]int64               `json:"peak_rss_anon_bytes"`
}

func main() {
	log.SetFlags(0)
	bin := flag.String("bin", "../bin", "directory of the EFS binaries")
	minioBin := flag.String("minio", ".peers/minio", "MinIO binary; empty: leave it out")
	nginxBin := flag.String("nginx", "nginx", "nginx binary; empty: leave it out")
	rounds := flag.Int("rounds", 3, "rounds; each measures every target in turn")
	each := flag.Duration("each", 4*time.Second, "how long each work runs on each target in each round")
	only := flag.String("only", "", "run this work only")
	out := flag.String("out", "results/latest.json", "results file")
	tmp := flag.String("dir", "", "where the servers keep their data (default: a new directory here)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *bin, *minioBin, *nginxBin, *rounds, *each, *only, *out, *tmp); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run(ctx context.Context, bin, minioBin, nginxBin string, rounds int, each time.Duration, only, out, tmp string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	if tmp, err = os.MkdirTemp(cmp.Or(tmp, "."), "data-"); err != nil {
		return err
	}
	defer os.RemoveAll(tmp)

	targets := []Target{&efsServer{bin: bin}}
	for name, t := range map[string]Target{minioBin: &minioServer{bin: minioBin}, nginxBin: &nginxServer{bin: nginxBin}} {
		if name == "" {
			continue
		}
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s is missing; run scripts/deps bench, or leave it out with -%s ''", name, t.Name())
		}
		targets = append(targets, t)
	}
	slices.SortFunc(targets, func(a, b Target) int { return cmp.Compare(a.Name(), b.Name()) })

	rep := Report{Time: time.Now(), Build: fingerprint(bin), Rounds: rounds, Seconds: each.Seconds(),
		Results: map[string]map[string][]Result{}, PeakRSS: map[string]int64{}}
	var peaks []func()
	for _, t := range targets {
		dir := filepath.Join(tmp, t.Name())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := t.Start(ctx, dir); err != nil {
			return fmt.Errorf("starting %s: %w", t.Name(), err)
		}
		defer t.Stop()
		rss := peakRSS(t.PID())
		peaks = append(peaks, func() { rep.PeakRSS[t.Name()] = rss() })
	}
	for _, w := range works {
		if only != "" && w.Name != only {
			continue
		}
		if rep.Results[w.Name], err = measure(ctx, targets, w, rounds, each); err != nil {
			return err
		}
	}
	for _, p := range peaks {
		p()
	}
	print(rep, targets)
	return save(rep, out)
}

// measure runs one work in interleaved rounds, so that a busy moment of a
// shared machine falls on all targets alike.
func measure(ctx context.Context, targets []Target, w Work, rounds int, each time.Duration) (map[string][]Result, error) {
	res := map[string][]Result{}
	var seq atomic.Int64
	for _, t := range targets {
		if err := prepare(ctx, t, w); err != nil {
			return nil, fmt.Errorf("%s: preparing %s: %w", t.Name(), w.Name, err)
		}
	}
	for i := range rounds {
		for _, t := range targets {
			r := load(ctx, t, w, each, &seq)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			log.Printf("%-10s round %d  %-6s %10.0f/s  p50 %8s  p99 %8s  errors %d %s", w.Name, i+1, t.Name(), r.Rate(),
				r.P50.Round(10*time.Microsecond), r.P99.Round(10*time.Microsecond), r.Errors, r.First)
			res[t.Name()] = append(res[t.Name()], r)
		}
	}
	return res, nil
}

// median returns the middle rate of the rounds.
func median(rs []Result) float64 {
	rates := make([]float64, len(rs))
	for i, r := range rs {
		rates[i] = r.Rate()
	}
	slices.Sort(rates)
	return rates[len(rates)/2]
}

func print(rep Report, targets []Target) {
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "\nwork\tclients\t")
	for _, t := range targets {
		fmt.Fprintf(tw, "%s/s\t", t.Name())
	}
	for _, t := range targets {
		if t.Name() != "efs" {
			fmt.Fprintf(tw, "efs : %s\t", t.Name())
		}
	}
	fmt.Fprintln(tw)
	for _, w := range works {
		res, ok := rep.Results[w.Name]
		if !ok {
			continue
		}
		fmt.Fprintf(tw, "%s\t%d\t", w.Name, w.Clients)
		for _, t := range targets {
			fmt.Fprintf(tw, "%.0f\t", median(res[t.Name()]))
		}
		for _, t := range targets {
			if t.Name() != "efs" {
				fmt.Fprintf(tw, "%.2f\t", median(res["efs"])/median(res[t.Name()]))
			}
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
	fmt.Printf("\nmedians of %d rounds of %gs each; peak anonymous memory:", rep.Rounds, rep.Seconds)
	for _, t := range targets {
		fmt.Printf(" %s %d MiB", t.Name(), rep.PeakRSS[t.Name()]>>20)
	}
	fmt.Println()
}

func save(rep Report, out string) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(b, '\n'), 0o644)
}
