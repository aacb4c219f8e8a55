package node

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/internal/fsys"
)

// audited opens the root with an audit log.
func (r *rig) audited(change ...func(*Config)) *Node {
	r.t.Helper()
	cfg := r.config()
	cfg.Key, cfg.Audit.Enabled = r.found(), true
	for _, c := range change {
		c(&cfg)
	}
	return r.openWith(cfg)
}

// pending are the requests whose lines are not handed over.
var pending []*fsys.Cause

// traced stores files, each for a request of its own whose line is not handed
// over: as if the server had been killed just then.
func traced(t *testing.T, f *FileSystem, user string, names ...string) (seqs []uint64) {
	t.Helper()
	for _, name := range names {
		cause := &fsys.Cause{Origin: efs.Origin{Op: "file.store", Request: "r-" + name, Session: "s", From: "192.0.2.1:1", Method: "PUT"}}
		if _, err := f.Put(context.Background(), name, strings.NewReader(name), fsys.PutOptions{Who: fsys.Who{User: user, Cause: cause}, Size: -1}); err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, cause.Seq())
		pending = append(pending, cause)
	}
	return seqs
}

// lines returns how many lines each change of a file system has, and those of
// opBegin.
func lines(t *testing.T, n *Node, f *FileSystem) (of map[uint64]int, begins []audit.Line) {
	t.Helper()
	of = map[uint64]int{}
	err := n.Audit().Read(context.Background(), audit.Query{}, func(l *audit.Line) error {
		switch {
		case l.FSID != f.ID():
		case l.Op == opBegin:
			begins = append(begins, *l)
		default:
			of[l.Change]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return of, begins
}

func once(seqs ...[]uint64) map[uint64]int {
	m := map[uint64]int{}
	for _, s := range seqs {
		for _, n := range s {
			m[n]++
		}
	}
	return m
}

// crash ends a node without the audit log or the index being told how far the
// other is.
func crash(t *testing.T, n *Node) {
	t.Helper()
	crashWith(t, n, func() {})
}

func crashWith(t *testing.T, n *Node, do func()) {
	t.Helper()
	_ = n.Audit().Close()
	do()
	for _, cause := range pending { // so that closing does not wait for them
		cause.Done()
	}
	pending = nil
	closeNode(t, n)
}

// TestEveryChangeHasItsLineAfterTheNextStart: those whose line was lost, once,
// with what was known of the request; those that have one get no other.
func TestEveryChangeHasItsLineAfterTheNextStart(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	n := r.audited()
	f, g := mustCreate(t, n, "docs"), mustCreate(t, n, "other")
	first := traced(t, f, "alice", "a/b", "c")
	others := traced(t, g, "bob", "x")
	// One of them was handed over, and is durable.
	done := audit.Event{Op: "file.store", FSID: f.ID(), Change: first[1], Request: "r-c", User: "alice", FS: "docs"}
	if err := n.Audit().Hand(&done); err != nil {
		t.Fatal(err)
	}
	crash(t, n)

	n = r.audited()
	f, _ = n.FS("docs")
	g, _ = n.FS("other")
	for range 2 {
		if of, _ := lines(t, n, f); !maps.Equal(of, once(first)) {
			t.Fatalf("lines of docs: %v, want one of each of %v", of, first)
		}
		if of, _ := lines(t, n, g); !maps.Equal(of, once(others)) {
			t.Fatalf("lines of other: %v, want one of each of %v", of, others)
		}
		closeNode(t, n)
		n = r.audited()
		f, _ = n.FS("docs")
		g, _ = n.FS("other")
	}
	found := false
	_ = n.Audit().Read(ctx, audit.Query{}, func(l *audit.Line) error {
		if l.Change == first[0] && l.FSID == f.ID() {
			found = true
			path, err := f.OpenLabel(ctx, l.Name)
			if !l.Late || l.Op != "file.store" || l.User != "alice" || l.FS != "docs" || l.From != "192.0.2.1:1" || l.Session != "s" || l.Request != "r-a/b" || l.Object.IsZero() || path != "a/b" || err != nil {
				t.Errorf("%+v of %q, %v", l, path, err)
			}
		}
		return nil
	})
	if !found {
		t.Error("the line that was lost was not written")
	}
}

// TestTheLogIsNotTrimmedBeforeItIsRecorded: nor does a file system without an
// audit log keep anything for it.
func TestTheLogIsNotTrimmedBeforeItIsRecorded(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	n := r.audited()
	f := mustCreate(t, n, "docs")
	seqs := traced(t, f, "alice", "a", "b")
	if err := f.parts.index.TrimChanges(ctx, 1<<40); err != nil {
		t.Fatal(err)
	}
	crash(t, n)
	n = r.audited()
	f, _ = n.FS("docs")
	if of, begins := lines(t, n, f); !maps.Equal(of, once(seqs)) || len(begins) > 0 {
		t.Errorf("lines: %v, %+v", of, begins)
	}
	closeNode(t, n)

	n = r.open() // without
	f, _ = n.FS("docs")
	if marks, err := f.parts.index.Marks(ctx); err != nil || len(marks) > 0 {
		t.Errorf("marks %v, %v", marks, err)
	}
	before, err := f.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Put(ctx, "unseen", strings.NewReader("x"), fsys.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)

	n = r.audited() // with it again: it begins where it is, and says so
	f, _ = n.FS("docs")
	of, begins := lines(t, n, f)
	if !maps.Equal(of, once(seqs)) || len(begins) != 1 || begins[0].Change != before.Seq+1 {
		t.Errorf("lines: %v, %+v", of, begins)
	}
}

// TestALostRecordHidesNothing: whoever takes away how far the lines go, while
// the server is down, gets a line about it, and the change has its own.
func TestALostRecordHidesNothing(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	n := r.audited()
	f := mustCreate(t, n, "docs")
	seqs := traced(t, f, "alice", "a", "b")
	done := audit.Event{Op: "file.store", FSID: f.ID(), Change: seqs[0], Request: "r-a", User: "alice", FS: "docs"}
	if err := n.Audit().Hand(&done); err != nil {
		t.Fatal(err)
	}
	if err := n.Audit().Sync(ctx); err != nil {
		t.Fatal(err)
	}
	crashWith(t, n, func() {
		_, err := f.parts.index.Commit(ctx, &efs.Txn{Mutations: []efs.Mutation{{Key: efs.Key{Space: efs.SpaceMeta, Bytes: []byte("a")}}}})
		if err != nil {
			t.Fatal(err)
		}
	})
	n = r.audited()
	f, _ = n.FS("docs")
	of, begins := lines(t, n, f)
	if !maps.Equal(of, once(seqs)) || len(begins) != 1 {
		t.Errorf("lines: %v, %+v", of, begins)
	}
}

// TestAnIndexFromThePastIsRecordedFromThere: its changes have lines; the
// numbers that come again get lines of their own.
func TestAnIndexFromThePastIsRecordedFromThere(t *testing.T) {
	r := newRig(t)
	n := r.audited()
	f := mustCreate(t, n, "docs")
	traced(t, f, "alice", "a")
	index := f.parts.places.index
	crash(t, n)
	old, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	n = r.audited()
	f, _ = n.FS("docs")
	lost := traced(t, f, "alice", "lost")
	crash(t, n)
	n = r.audited()
	closeNode(t, n)

	if err := os.WriteFile(index, old, 0o600); err != nil {
		t.Fatal(err)
	}
	accept := func(c *Config) { c.AcceptRollback = []string{"docs"} }
	n = r.audited(accept)
	f, _ = n.FS("docs")
	again := traced(t, f, "alice", "again")
	if again[0] != lost[0] {
		t.Fatalf("change %d after %d: the test does not put a number to use again", again[0], lost[0])
	}
	crash(t, n)
	n = r.audited(accept)
	f, _ = n.FS("docs")
	of, begins := lines(t, n, f)
	want := once([]uint64{1, again[0], lost[0]})
	for seq, times := range of {
		if seq == again[0] && times != 2 || seq != again[0] && times != 1 {
			t.Errorf("%d lines of change %d, want like %v", times, seq, want)
		}
	}
	if len(begins) == 0 || !strings.Contains(fmt.Sprint(begins), "come again") {
		t.Errorf("nothing says that an older index was accepted: %+v", begins)
	}
}
