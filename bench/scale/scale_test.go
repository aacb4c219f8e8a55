package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A small run passes every phase on a real server: every file that is read is
// the one that was stored, every page has the names it must have, deleting
// leaves nothing behind, and no data stays. What it measures is not judged.
func TestSmallRun(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	bin, dir := build(t), t.TempDir()
	out := filepath.Join(t.TempDir(), "scale.json")
	p := plan{Files: 4000, Dirs: 50, Big: 2500, Sample: 500}
	if err := run(context.Background(), p, bin, dir, out); err != nil {
		t.Fatal(err)
	}
	var r Report
	b, err := os.ReadFile(out)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Goals) == 0 || r.First.PerSec <= 0 || r.Remaining.PerSec <= 0 || len(r.PagesCold) != 3 || r.Restart.Killed <= 0 {
		t.Errorf("the report is not complete: %s", b)
	}
	if e := r.Full.Buckets["entries"]; e.Records < int64(p.total()) {
		t.Errorf("%d entries were counted, %d files stored", e.Records, p.total())
	}
	for phase, peak := range r.Anon {
		if peak == 0 {
			t.Errorf("no memory was seen in phase %s", phase)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A run that is interrupted leaves neither a process nor data.
func TestInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the server")
	}
	bin, dir := build(t), t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for len(processes(t, dir)) == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	p := plan{Files: 4000, Dirs: 50, Big: 2500, Sample: 500}
	err := run(ctx, p, bin, dir, filepath.Join(dir, "scale.json"))
	cancel()
	if err == nil {
		t.Error("an interrupted run says nothing")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if left := processes(t, dir); len(left) != 0 {
		t.Errorf("still running: %q", left)
	}
}

// build makes the shipped binaries.
func build(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	cmd := exec.Command("go", "build", "-o", bin+"/", "./cmd/efs-server", "./cmd/efsctl")
	cmd.Dir = "../.."
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	return bin
}

// processes returns the command lines of processes that work in dir.
func processes(t *testing.T, dir string) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		line, _ := os.ReadFile(path) // it may have ended
		if bytes.Contains(line, []byte(dir)) {
			found = append(found, string(line))
		}
	}
	return found
}

func TestPlanIsChecked(t *testing.T) {
	for _, p := range []plan{
		{Files: 1000, Dirs: 5, Big: 1000, Sample: 10},
		{Files: 50, Dirs: 10, Big: 1000, Sample: 10},
		{Files: 1000, Dirs: 10, Big: 1000},
		{Files: 1000, Dirs: 10, Big: 1000, Sample: 300},
		{Files: 1000, Dirs: 10, Big: 100, Sample: 60},
	} {
		if p.check() == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
}

func TestBulkHasEveryFileOnce(t *testing.T) {
	for _, p := range []plan{
		{Files: 1000, Dirs: 10, Sample: 100},
		{Files: 1003, Dirs: 10, Sample: 77},
		{Files: 500, Dirs: 50, Sample: 25},
	} {
		from, to := p.Sample, p.Files-p.Sample
		seen := map[int]bool{}
		moves, last := 0, -1
		for i := range to - from {
			n := p.bulk(from, to, i)
			if n < from || n >= to || seen[n] {
				t.Fatalf("%+v: %d is the %dth", p, n, i)
			}
			seen[n] = true
			if n%p.Dirs != last {
				moves, last = moves+1, n%p.Dirs
			}
		}
		if moves != p.Dirs {
			t.Errorf("%+v: directories are changed %d times", p, moves)
		}
	}
}

func TestNamesAreDistinctAndScattered(t *testing.T) {
	p := plan{Files: 1000, Dirs: 10, Big: 100_000, Sample: 10}
	seen := map[string]bool{}
	rising := 0
	for n := range p.Big {
		seen[p.bigName(n)] = true
		if n > 0 && p.bigName(n) > p.bigName(n-1) {
			rising++
		}
	}
	if len(seen) != p.Big {
		t.Errorf("%d names for %d files", len(seen), p.Big)
	}
	if rising < p.Big*4/10 || rising > p.Big*6/10 {
		t.Errorf("%d of %d names follow the one before in order", rising, p.Big)
	}
}
