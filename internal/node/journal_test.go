package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
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

// A checkpoint that is damaged in the middle may have lost revocations: what is
// left of it is only taken if that is accepted. Then what can be reached is served.
func TestRebuildOfADamagedCheckpoint(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	cfg := r.config()
	cfg.Key, cfg.Journal.Enabled = r.found(), true
	n := r.openWith(cfg)
	f := mustCreate(t, n, "user-data")
	body := strings.Repeat("a small file ", 1000)
	for i := range 200 {
		if _, err := f.Put(ctx, fmt.Sprintf("dir/%d", i), strings.NewReader(body), fsys.PutOptions{Size: -1}); err != nil {
			t.Fatal(err)
		}
	}
	f.parts.journal.Renew()
	for s := f.Journal(); s.Made == 0 || s.State != journal.Current; s = f.Journal() {
		time.Sleep(time.Millisecond)
	}
	places := f.parts.places
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	checkpoints, err := filepath.Glob(filepath.Join(places.journal(), "*.checkpoint"))
	if err != nil || len(checkpoints) != 1 {
		t.Fatal(checkpoints, err)
	}
	b, err := os.ReadFile(checkpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)*2/3] ^= 1
	if err := errors.Join(os.WriteFile(checkpoints[0], b, 0o600), os.Remove(places.index)); err != nil {
		t.Fatal(err)
	}
	cfg.Key = r.found()
	n = r.openWith(cfg)
	said := func(string) {}
	if _, err := n.RebuildIndex(ctx, "user-data", false, said, nil); !errors.Is(err, efs.ErrRolledBack) {
		t.Fatalf("without being told to: %v", err)
	}
	out, err := n.RebuildIndex(ctx, "user-data", true, said, nil)
	if err != nil || out.Complete || !out.AccessLost || !strings.Contains(out.Lost, "checkpoint") {
		t.Fatalf("%+v, %v", out, err)
	}
	if f, err = n.FS("user-data"); err != nil {
		t.Fatal(err)
	}
	read := 0
	for i := range 200 {
		if got, err := f.Open(ctx, fmt.Sprintf("dir/%d", i)); err == nil {
			var out strings.Builder
			if err := got.WriteRange(&out, 0, -1); err == nil && out.String() == body {
				read++
			}
			_ = got.Close()
		}
	}
	if read < 80 || read == 200 {
		t.Errorf("%d files of 200 can be read", read)
	}
}
