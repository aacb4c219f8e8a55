package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Report is what a run found, as written to the results file.
type Report struct {
	Time    time.Time                      `json:"time"`
	Took    time.Duration                  `json:"took_ns"`
	Machine Machine                        `json:"machine"`
	Build   string                         `json:"efs_build"`
	Peers   map[string]string              `json:"peers"` // target → version
	Quick   bool                           `json:"quick"`
	Rounds  int                            `json:"rounds"`
	Seconds float64                        `json:"seconds_each"`
	Suites  map[string]string              `json:"tls"`     // target → what was negotiated
	Results map[string]map[string][]Result `json:"results"` // work → target → rounds
	Mixed   map[string][]Mixed             `json:"mixed,omitempty"`
	Memory  *Memory                        `json:"memory,omitempty"`
	Seal    []Ratio                        `json:"seal,omitempty"`
	Limits  *Limits                        `json:"limits,omitempty"`
}

// Machine is where a run was made.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"`
	Go         string `json:"go"`

	Load float64 `json:"load_average"` // of the last minute before the run: how busy others kept it
}

func thisMachine(dir string) Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: runtime.GOARCH}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	m.FileSystem = fileSystem(dir)
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Sscan(string(b), &m.Load)
	}
	return m
}

// fileSystem names the type of the volume that dir lies on (proc_pid_mounts(5)):
// of the mount points that dir is below, the longest, the last if one hides another.
func fileSystem(dir string) string {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "unknown file system"
	}
	var name, longest string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < len(longest) {
			continue
		}
		if at := strings.TrimSuffix(f[1], "/"); dir == at || strings.HasPrefix(dir, at+"/") {
			name, longest = f[2], f[1]
		}
	}
	return name
}

// medianOf returns the middle value, the lower one of two.
func medianOf[T cmp.Ordered](values []T) T {
	var zero T
	if len(values) == 0 {
		return zero
	}
	s := slices.Sorted(slices.Values(values))
	return s[(len(s)-1)/2]
}

// each round's value of what get tells.
func over[R any, T any](rounds []R, get func(R) T) []T {
	out := make([]T, len(rounds))
	for i, r := range rounds {
		out[i] = get(r)
	}
	return out
}

// spread is the middle, the least and the greatest of several rounds.
type spread struct{ mid, min, max float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	return spread{medianOf(values), slices.Min(values), slices.Max(values)}
}

// rate returns the rates of a work on a target; ok is false if it was not
// measured.
func (r *Report) rate(work, target string) (spread, bool) {
	rounds := r.Results[work][target]
	return spreadOf(over(rounds, Result.Rate)), len(rounds) > 0
}

// ratio compares two targets round by round, so that a busy moment of the
// machine, which falls on both, cancels out.
func (r *Report) ratio(work, target, other string) (spread, bool) {
	a, b := r.Results[work][target], r.Results[work][other]
	if len(a) == 0 || len(a) != len(b) {
		return spread{}, false
	}
	ratios := make([]float64, len(a))
	for i := range a {
		if b[i].Ops == 0 {
			return spread{}, false
		}
		ratios[i] = a[i].Rate() / b[i].Rate()
	}
	return spreadOf(ratios), true
}

// errors counts what went wrong in all of the run.
func (r *Report) errors() (n int64, first string) {
	add := func(rounds ...Result) {
		for _, x := range rounds {
			if n += x.Errors; first == "" {
				first = x.First
			}
		}
	}
	for _, targets := range r.Results {
		for _, rounds := range targets {
			add(rounds...)
		}
	}
	for _, rounds := range r.Mixed {
		for _, m := range rounds {
			add(m.Alone, m.With)
		}
	}
	return n, first
}

func (r *Report) save(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return write(file, append(b, '\n'))
}

func write(file string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

// drain writes out what lies dirty in memory, so that no round pays for the
// one before.
func drain() { syscall.Sync() }
