package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Ratio is what a benchmark of the package seal reports: its speed as a share
// of what the ciphers do over the same bytes.
type Ratio struct {
	Name   string    `json:"name"` // of the benchmark, without "BenchmarkRatio"
	Values []float64 `json:"values"`
}

// sealed runs the benchmarks of the package seal that report a ratio.
func (b *bench) sealed(ctx context.Context) error {
	which, count := "Ratio", "3"
	if b.quick {
		which, count = "Ratio(Digest|NoDigest|TwoCores|TwoStages)$", "1"
	}
	args := []string{"test", "-run", "^$", "-bench", which, "-benchtime", "1x", "-count", count, "./seal"}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = ".."
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, &out, &msg)
	}
	b.rep.Seal = parseRatios(out.String())
	for _, r := range b.rep.Seal {
		s := spreadOf(r.Values)
		b.say("seal       %-24s %.3f (%.3f to %.3f)", r.Name, s.mid, s.min, s.max)
	}
	if len(b.rep.Seal) == 0 {
		b.say("seal       no benchmark reports a ratio")
	}
	return nil
}

// parseRatios reads lines of the form (golang.org/design/14313-benchmark-format)
//
//	BenchmarkRatioDigest-2   10   104 ns/op   0.95 ratio
func parseRatios(out string) []Ratio {
	var all []Ratio
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if f[i+1] != "ratio" || err != nil {
				continue
			}
			name := strings.TrimPrefix(strings.TrimPrefix(f[0], "Benchmark"), "Ratio")
			if cut := strings.LastIndexByte(name, '-'); cut > 0 {
				name = name[:cut]
			}
			name = strings.TrimPrefix(name, "/")
			if n := len(all); n > 0 && all[n-1].Name == name {
				all[n-1].Values = append(all[n-1].Values, v)
			} else {
				all = append(all, Ratio{name, []float64{v}})
			}
		}
	}
	return all
}
