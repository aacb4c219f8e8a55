package node

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/journal"
)

// Fsck is content with the journal of a file system that was made a moment ago;
// it finds one that is gone, and has it made again.
func TestFsckReadsTheJournal(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	cfg := r.config()
	cfg.Key, cfg.Journal.Enabled = r.found(), true
	f := mustCreate(t, r.openWith(cfg), "user-data")
	check := func(repair bool) []fsys.Problem {
		t.Helper()
		report, err := f.Fsck(ctx, fsys.FsckOptions{Repair: repair})
		if err != nil {
			t.Fatal(err)
		}
		return report.Problems
	}
	written := func() {
		t.Helper()
		head, err := f.parts.index.Head(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for {
			if s := f.Journal(); s.State == journal.Current && s.Revision == head.Revision {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	if p := check(false); len(p) > 0 {
		t.Errorf("of a new file system: %+v", p)
	}
	if _, err := f.Put(ctx, "a", strings.NewReader("a"), fsys.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
	if p := check(false); len(p) > 0 {
		t.Errorf("with a file that the journal may not have yet: %+v", p)
	}
	written()
	if p := check(false); len(p) > 0 {
		t.Errorf("with all of it: %+v", p)
	}
	if err := os.RemoveAll(f.parts.places.journal()); err != nil {
		t.Fatal(err)
	}
	if p := check(true); len(p) != 1 || p[0].Kind != ProblemJournal || !p[0].Repaired {
		t.Errorf("without a journal: %+v", p)
	}
	written()
	if p := check(false); len(p) > 0 {
		t.Errorf("after the repair: %+v", p)
	}
}
