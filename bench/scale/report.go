package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// Report is what a run found, as written to the results file.
type Report struct {
	Time      time.Time     `json:"time"`
	Build     string        `json:"efs_build"` // of the measured efs-server
	Plan      plan          `json:"plan"`
	Took      time.Duration `json:"took_ns"`
	First     Rate          `json:"first"`
	Last      Rate          `json:"last"`
	Big       Rate          `json:"big"`       // the last into the big directory
	Remaining Rate          `json:"remaining"` // after 9 of 10 files were deleted

	LookFirst Lookups `json:"lookups_first"`
	LookLast  Lookups `json:"lookups_last"`

	PagesWarm []Page `json:"pages_warm"`
	PagesCold []Page `json:"pages_cold"`

	Fill      []Fill           `json:"fill"`
	Restart   Restarts         `json:"restart"`
	Full      Account          `json:"index_full"`
	After     Account          `json:"index_after_deleting"`
	Delete    time.Duration    `json:"delete_ns"`
	DeleteCPU time.Duration    `json:"delete_server_cpu_ns_each"` // user and system, for each file
	Anon      map[string]int64 `json:"rss_anon_peak_bytes"`       // by phase

	Goals []Goal `json:"goals"`
}

// Page is how long a page of names took.
type Page struct {
	After int           `json:"after"` // names before it
	Each  time.Duration `json:"worst_ns"`
}

// Fill is a part that was stored without HTTPS.
type Fill struct {
	What   string  `json:"what"`
	Files  int     `json:"files"`
	PerSec float64 `json:"per_second"`
}

// Restarts are the longest times from the start of the process until it
// served.
type Restarts struct {
	Clean  time.Duration `json:"clean_ns"`
	Killed time.Duration `json:"killed_ns"` // after SIGKILL while it stored
	Cold   time.Duration `json:"cold_ns"`   // with nothing of the root in the page cache
}

// Goal is one target with what was reached.
type Goal struct {
	What string  `json:"what"`
	Want string  `json:"want"`
	Got  float64 `json:"got"`
	Unit string  `json:"unit"`
	Met  bool    `json:"met"`
}

func atLeast(what string, got, want float64, unit string) Goal {
	return Goal{what, fmt.Sprintf("≥ %g %s", want, unit), got, unit, got >= want}
}

func atMost(what string, got, want float64, unit string) Goal {
	return Goal{what, fmt.Sprintf("≤ %g %s", want, unit), got, unit, got <= want}
}

// judge compares what was found with the goals.
func (r *Report) judge() {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	worst := func(pages []Page) (w time.Duration) {
		for _, p := range pages {
			w = max(w, p.Each)
		}
		return w
	}
	var anon int64
	for _, n := range r.Anon {
		anon = max(anon, n)
	}
	r.Goals = []Goal{
		atLeast("stores at the end : at the beginning", r.Last.PerSec/r.First.PerSec, 0.75, "×"),
		atLeast("stores into the big directory : at the beginning", r.Big.PerSec/r.First.PerSec, 0.75, "×"),
		atMost("lookup p50 at the end : at the beginning", float64(r.LookLast.Head)/float64(r.LookFirst.Head), 1.5, "×"),
		atMost("read p50 at the end : at the beginning", float64(r.LookLast.Get)/float64(r.LookFirst.Get), 1.5, "×"),
		atMost("index, beyond inline data and log", r.Full.PerFile, 600, "bytes a file"),
		atMost("page of 1,000 names, worst", ms(worst(r.PagesWarm)), 30, "ms"),
		atMost("page of 1,000 names, worst, cold page cache", ms(worst(r.PagesCold)), 30, "ms"),
		atLeast("stores after deleting 9 of 10 files : before", r.Remaining.PerSec/r.Last.PerSec, 0.8, "×"),
		atMost("restart", ms(r.Restart.Clean), 1000, "ms"),
		atMost("restart after SIGKILL", ms(r.Restart.Killed), 1000, "ms"),
		atMost("restart with a cold page cache", ms(r.Restart.Cold), 1000, "ms"),
		atMost("RssAnon of the server, peak", float64(anon)/(1<<20), 300, "MiB"),
	}
}

// print writes the goals as a table.
func (r *Report) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "\ngoal\tto reach\treached\tmet")
	for _, g := range r.Goals {
		met := "no"
		if g.Met {
			met = "yes"
		}
		fmt.Fprintf(tw, "%s\t%s\t%.2f %s\t%s\n", g.What, g.Want, g.Got, g.Unit, met)
	}
	tw.Flush()
	fmt.Fprintf(w, "\n%d files in %d directories and %d in one, in %s\n", r.Plan.Files, r.Plan.Dirs, r.Plan.Big, r.Took.Round(time.Second))
}

func (r *Report) save(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
