package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// names are how targets are called for people.
var names = map[string]string{"efs": "EFS", "minio": "MinIO", "nginx": "nginx", "disk": "disk"}

// titles say what each work is.
var titles = map[string]string{
	"store-4k": "store 4 KiB, 16 clients", "read-4k": "read 4 KiB, 16 clients",
	"store-1m": "store 1 MiB, 16 clients", "read-1m": "read 1 MiB, 16 clients",
	"store-64m": "store 64 MiB, 4 clients", "read-64m": "read 64 MiB, 4 clients",
	"range-1g": "read 64 KiB inside 1 GiB, 16 clients", "range-16m": "read 64 KiB inside 16 MiB, 16 clients",
}

// markdown writes all of a report that people read.
func (r *Report) markdown() string {
	var s strings.Builder
	kind := "full"
	if r.Quick {
		kind = "quick"
	}
	fmt.Fprintf(&s, "A %s run, begun %s: %s, %d cores, Linux %s, %s, %s; EFS build `%s`%s. It took %s",
		kind, r.Time.Format("2006-01-02 15:04 UTC"), r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.FileSystem,
		r.Machine.Go, r.Build, r.peersText(), r.Took.Round(time.Second))
	if len(r.Results) > 0 {
		fmt.Fprintf(&s, "; %g s for each target in each round. %s", r.Seconds, r.tlsText())
	}
	s.WriteString(".")
	if r.Machine.Load > float64(r.Machine.Cores)/2 {
		fmt.Fprintf(&s, " **The machine was busy with something else** when it began (load average %.1f).", r.Machine.Load)
	}
	s.WriteString("\n\n")
	r.peers(&s)
	r.costs(&s)
	r.aloneTable(&s)
	r.limits(&s)
	return s.String()
}

// peersText names the peers with their versions.
func (r *Report) peersText() string {
	var s string
	for _, t := range []string{"minio", "nginx"} {
		if v := r.Peers[t]; v != "" {
			s += ", " + names[t] + " " + v
		}
	}
	return s
}

// tlsText says which TLS was spoken: one for all, or else each.
func (r *Report) tlsText() string {
	byTLS := map[string][]string{}
	for _, t := range slices.Sorted(maps.Keys(r.Suites)) {
		byTLS[r.Suites[t]] = append(byTLS[r.Suites[t]], names[t])
	}
	var parts []string
	for _, suite := range slices.Sorted(maps.Keys(byTLS)) {
		parts = append(parts, strings.Join(byTLS[suite], ", ")+": "+suite)
	}
	return strings.Join(parts, "; ")
}

// peers is the table of rates and ratios.
func (r *Report) peers(s *strings.Builder) {
	if len(r.Results) == 0 {
		return
	}
	s.WriteString("| work | EFS | MinIO | nginx | disk | EFS : MinIO | EFS : nginx | EFS : disk | goal | reached |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, w := range works {
		if len(r.Results[w.Name]) == 0 {
			continue
		}
		cells := []string{titles[w.Name]}
		for _, t := range []string{"efs", "minio", "nginx", "disk"} {
			x, ok := r.rate(w.Name, t)
			cells = append(cells, when(ok, rateText(w, x)))
		}
		for _, t := range []string{"minio", "nginx", "disk"} {
			x, ok := r.ratio(w.Name, "efs", t)
			cells = append(cells, when(ok, ratioText(x)))
		}
		v := r.judge(w.Name)
		row(s, append(cells, v.goal, v.mark())...)
	}
	s.WriteString("\n")
}

// costs is the table of latencies and of what the servers compute.
func (r *Report) costs(s *strings.Builder) {
	if len(r.Results) == 0 {
		return
	}
	s.WriteString("| work | p50 EFS | MinIO | nginx | p99 EFS | MinIO | nginx | CPU a request EFS | MinIO | nginx |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, w := range works {
		if len(r.Results[w.Name]) == 0 {
			continue
		}
		cells := []string{titles[w.Name]}
		for _, get := range []func(Result) time.Duration{
			func(x Result) time.Duration { return x.P50 }, func(x Result) time.Duration { return x.P99 }, Result.CPU,
		} {
			for _, t := range []string{"efs", "minio", "nginx"} {
				rounds := r.Results[w.Name][t]
				cells = append(cells, when(len(rounds) > 0, short(medianOf(over(rounds, get)))))
			}
		}
		row(s, cells...)
	}
	s.WriteString("\n")
}

func (r *Report) aloneTable(s *strings.Builder) {
	all := r.alone()
	if len(all) == 0 {
		return
	}
	s.WriteString("| what | measured | goal | reached |\n|---|---|---|---|\n")
	for _, v := range all {
		row(s, v.what, v.measured, v.goal, v.mark())
	}
	s.WriteString("\n")
}

// limits is the table of what the machine does, and how far EFS is from it.
func (r *Report) limits(s *strings.Builder) {
	l := r.Limits
	if l == nil {
		return
	}
	// reach tells what share of a limit EFS reaches in a work.
	reach := func(work string, unit, limit float64) string {
		x, ok := r.rate(work, "efs")
		return when(ok && limit > 0, fmt.Sprintf("%.0f %% (%s)", 100*x.mid*unit/limit, titles[work]))
	}
	syncs := l.Sync.Seconds()
	s.WriteString("| limit of this machine | measured | EFS reaches |\n|---|---|---|\n")
	row(s, "AES-256-GCM, one core, segments of 64 KiB", fmt.Sprintf("%.2f GB/s", l.AES256GCM/1e9), reach("read-64m", 64<<20, l.AES256GCM))
	row(s, "AES-256-GCM, then SHA-256, one core", fmt.Sprintf("%.2f GB/s", 1/(1/l.AES256GCM+1/l.SHA256)/1e9), reach("store-64m", 64<<20, 1/(1/l.AES256GCM+1/l.SHA256)))
	row(s, "bare TLS server in Go, 64 MiB answers, 4 clients", mega(l.TLS), reach("read-64m", 64<<20, l.TLS))
	row(s, "bare TLS server in Go, 4 KiB answers, 16 clients", thousands(l.TLSSmall)+"/s", reach("read-4k", 1, l.TLSSmall))
	row(s, "disk, four files of 64 MiB written and synced", mega(l.Disk), reach("store-64m", 64<<20, l.Disk))
	row(s, "disk, 4 KiB written and synced", short(l.Sync), when(r.Results["store-4k"]["efs"] != nil && syncs > 0, perSync(r, syncs)))
	s.WriteString("\n")
}

// perSync tells how many stores are confirmed in the time of one synced write.
func perSync(r *Report, syncs float64) string {
	x, _ := r.rate("store-4k", "efs")
	return fmt.Sprintf("%.1f stores of 4 KiB in that time", x.mid*syncs)
}

func row(s *strings.Builder, cells ...string) {
	s.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// when leaves out what was not measured.
func when(ok bool, text string) string {
	if !ok {
		return "–"
	}
	return text
}

// rateText writes rates of w: requests for small objects, bytes for large ones.
func rateText(w Work, x spread) string {
	if w.bytes() < 1<<20 {
		return fmt.Sprintf("%s/s (%s–%s)", thousands(x.mid), thousands(x.min), thousands(x.max))
	}
	of := float64(w.bytes()) / 1e6
	return fmt.Sprintf("%s MB/s (%s–%s)", thousands(x.mid*of), thousands(x.min*of), thousands(x.max*of))
}

func ratioText(x spread) string {
	if x.min == x.max {
		return fmt.Sprintf("%.2f", x.mid)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", x.mid, x.min, x.max)
}

func mega(x float64) string { return thousands(x/1e6) + " MB/s" }

// thousands writes a number with commas.
func thousands(x float64) string {
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plainTable aligns the columns of tables for a terminal.
func plainTable(markdown string) string {
	var s strings.Builder
	var table [][]string
	flush := func() {
		var widths []int
		for _, cells := range table {
			for i, c := range cells {
				if i == len(widths) {
					widths = append(widths, 0)
				}
				widths[i] = max(widths[i], utf8.RuneCountInString(c))
			}
		}
		for _, cells := range table {
			var line strings.Builder
			for i, c := range cells {
				line.WriteString(c + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+2))
			}
			s.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		}
		table = nil
	}
	for line := range strings.Lines(strings.NewReplacer("**", "", "`", "").Replace(markdown)) {
		switch line = strings.TrimRight(line, "\n"); {
		case strings.HasPrefix(line, "|---"):
		case strings.HasPrefix(line, "| "):
			table = append(table, strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | "))
		default:
			flush()
			s.WriteString(line + "\n")
		}
	}
	flush()
	return s.String()
}
