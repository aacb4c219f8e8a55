package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs/internal/mirror"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/progress"
	"github.com/efs-project/efs/internal/transfer"
	"github.com/efs-project/efs/internal/treesync"
)

// syncReport tells a person, or a program, what becomes of a run.
type syncReport struct {
	cmd   *cobra.Command
	f     *cpFlags
	began time.Time

	mu  sync.Mutex
	bar *progress.Bar
	doc syncDocument

	passedBy map[string]bool // what was skipped, told once
}

// syncDocument is the answer to --json.
type syncDocument struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
	DryRun      bool   `json:"dry_run,omitempty"`

	Copied      int     `json:"copied"`      // files and links that were not there
	Replaced    int     `json:"replaced"`    // files and links that differed
	Attributes  int     `json:"attributes"`  // of which only permissions or time differed
	Directories int     `json:"directories"` // made
	Deleted     int     `json:"deleted"`     // at the destination
	Removed     int     `json:"removed"`     // at the source
	Unchanged   int     `json:"unchanged"`   // files and links
	Bytes       int64   `json:"bytes"`       // of what was copied and replaced
	Seconds     float64 `json:"seconds"`

	Actions   []syncLine `json:"actions,omitempty"` // of a dry run
	Kept      []syncLine `json:"kept"`              // changed at the destination alone
	Conflicts []syncLine `json:"conflicts"`
	Skipped   []syncLine `json:"skipped"` // is not copied: special files, files under way
	Failures  []syncLine `json:"failures"`
}

// syncLine is about one path below source and destination.
type syncLine struct {
	Op   string `json:"op,omitempty"`
	Path string `json:"path,omitempty"`
	Why  string `json:"why,omitempty"`
}

func newSyncReport(cmd *cobra.Command, from, to transfer.Place, f *cpFlags) *syncReport {
	return &syncReport{
		cmd: cmd, f: f, began: time.Now(), bar: progress.New(cmd.ErrOrStderr(), 0, "", true),
		passedBy: map[string]bool{},
		doc: syncDocument{
			Source: from.String(), Destination: to.String(), DryRun: f.sync.dryRun,
			Kept: []syncLine{}, Conflicts: []syncLine{}, Skipped: []syncLine{}, Failures: []syncLine{},
		},
	}
}

// expect shows a bar for what is going to travel.
func (r *syncReport) expect(files int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bar.Finish()
	r.bar = progress.New(r.cmd.ErrOrStderr(), bytes, fmt.Sprintf("%d files", files), r.f.quiet || r.f.sync.watch)
}

func (r *syncReport) progress(n int64) {
	r.mu.Lock()
	bar := r.bar
	r.mu.Unlock()
	bar.Add(n)
}

// tell takes one event.
func (r *syncReport) tell(ev mirror.Event) {
	line := syncLine{Path: ev.Path, Why: ev.Why}
	if ev.Dir {
		line.Path += "/"
	}
	switch {
	case ev.Err != nil:
		line.Why = plain.Error(ev.Err)
		r.doc.Failures = append(r.doc.Failures, line)
		if ev.Path == "" {
			r.say("%s", line.Why)
		} else {
			r.say("%s: %s", line.Path, line.Why)
		}
		return
	case ev.Op == treesync.Keep:
		r.doc.Kept = append(r.doc.Kept, line)
	case ev.Op == treesync.Conflict:
		r.doc.Conflicts = append(r.doc.Conflicts, line)
	case ev.Op == treesync.Skip && r.passedBy[line.Path]:
		return // while watching, it is seen again and again
	case ev.Op == treesync.Skip:
		r.passedBy[line.Path] = true
		r.doc.Skipped = append(r.doc.Skipped, line)
	default:
		r.did(ev.Op, line)
		return
	}
	if out := r.cmd.OutOrStdout(); r.f.sync.dryRun && !r.f.sync.asJSON {
		fmt.Fprintf(out, "%s %s: %s\n", ev.Op, plain.Printable(out, line.Path), line.Why)
		return
	}
	r.say("%s: %s: %s", ev.Op, line.Path, line.Why)
}

// did tells of something that was done, or is to be.
func (r *syncReport) did(op treesync.Op, line syncLine) {
	line.Op = op.String()
	switch {
	case r.f.sync.dryRun && r.f.sync.asJSON:
		r.doc.Actions = append(r.doc.Actions, line)
	case r.f.sync.dryRun:
		out := r.cmd.OutOrStdout()
		fmt.Fprintf(out, "%s %s\n", line.Op, plain.Printable(out, line.Path))
	case r.f.verbose:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bar.Say("%s %s", line.Op, line.Path)
	}
}

// say tells what went wrong.
func (r *syncReport) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bar.Say("efs: "+format, args...)
}

// finish sums up; the error is what the command ends with.
func (r *syncReport) finish(res mirror.Result, err error) error {
	r.bar.Finish()
	d := &r.doc
	d.Copied, d.Replaced, d.Attributes, d.Directories = res.Copied, res.Replaced, res.Attributes, res.Directories
	d.Deleted, d.Removed, d.Unchanged, d.Bytes = res.Deleted, res.Removed, res.Unchanged, res.Bytes
	d.Seconds = seconds(time.Since(r.began))
	if r.f.sync.watch && res.Failed == 0 {
		d.Failures = []syncLine{} // they were told, and done in the end
	}
	switch {
	case r.f.sync.asJSON:
		if err != nil {
			d.Failures = append(d.Failures, syncLine{Why: plain.Error(err)})
		}
		if jerr := plain.JSON(r.cmd.OutOrStdout(), d, ""); jerr != nil {
			return jerr
		}
	case err == nil && !r.f.quiet:
		fmt.Fprintln(r.cmd.OutOrStdout(), d.summary())
	}
	if err == nil && !res.Clean() {
		return errReported
	}
	return err
}

// summary is one line for people.
func (d *syncDocument) summary() string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(d.Copied, "copied")
	add(d.Replaced, "replaced")
	add(d.Attributes, "with new attributes")
	if d.Directories == 1 {
		add(1, "directory made")
	} else {
		add(d.Directories, "directories made")
	}
	add(d.Deleted, "deleted")
	add(d.Removed, "removed at the source")
	add(d.Unchanged, "unchanged")
	add(len(d.Kept), "kept")
	add(len(d.Conflicts), "in conflict")
	add(len(d.Skipped), "skipped")
	add(len(d.Failures), "failed")
	if len(parts) == 0 {
		parts = []string{"nothing there"}
	}
	head := ""
	if d.DryRun {
		head = "would be: "
	}
	return fmt.Sprintf("%s%s; %s in %.1f s", head, strings.Join(parts, ", "), iecBytes(d.Bytes), d.Seconds)
}

// iecBytes writes a number of bytes for people.
func iecBytes(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	v, u := float64(n)/1024, 0
	for ; v >= 1024 && u < len(units)-1; u++ {
		v /= 1024
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}
