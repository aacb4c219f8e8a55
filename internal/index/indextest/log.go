package indextest

import (
	"fmt"
	"time"

	"github.com/efs-project/efs"
)

func changesAreLinkedAndOrdered(h *harness) {
	s := Sealer("indextest")
	h.commit(efs.Txn{Changes: [][]byte{[]byte("one"), []byte("two")}})
	h.commit(puts(entry("k"), "no change"))
	h.commit(efs.Txn{Changes: change("three")})
	var prev [32]byte
	for i, c := range h.changes(0, 10) {
		if want := []string{"one", "two", "three"}[i]; c.Seq != uint64(i+1) || string(c.Sealed) != want {
			h.Errorf("change %d is %d %q, want %q", i, c.Seq, c.Sealed, want)
		}
		if prev = s.Link(prev, c.Seq, c.Sealed); c.Link != prev {
			h.Errorf("change %d has the wrong link", c.Seq)
		}
	}
	head, err := h.x.Head(h.Context())
	h.ok(err)
	if head.Seq != 3 || head.Link != prev {
		h.Error("the head is not the last change's")
	}
	for _, c := range []struct {
		since uint64
		limit int
		want  string
	}{{0, 2, "[1 2]"}, {1, 10, "[2 3]"}, {2, 1, "[3]"}, {3, 10, "[]"}, {99, 10, "[]"}, {^uint64(0), 10, "[]"}, {0, 0, "[]"}} {
		seqs := []uint64{}
		for _, ch := range h.changes(c.since, c.limit) {
			seqs = append(seqs, ch.Seq)
		}
		if got := fmt.Sprint(seqs); got != c.want {
			h.Errorf("changes since %d, limit %d: %s, want %s", c.since, c.limit, got, c.want)
		}
	}
}

func committedSaysWhere(h *harness) {
	if c := h.commit(puts(entry("k"), "1")); c.Seq != 0 {
		h.Errorf("without any change seq is %d", c.Seq)
	}
	if c := h.commit(efs.Txn{Changes: [][]byte{{1}, {2}, {3}}}); c.Seq != 3 {
		h.Errorf("of three changes the last is %d", c.Seq)
	}
	if c := h.commit(puts(entry("k"), "2")); c.Seq != 3 {
		h.Errorf("without changes seq is %d, want the last before, 3", c.Seq)
	}
}

func committedWakesFollowers(h *harness) {
	before := h.x.Committed()
	h.commit(puts(entry("k"), "1"))
	select {
	case <-before:
		h.Fatal("woken by a commit without changes")
	default:
	}
	h.commit(efs.Txn{Changes: change("c")})
	select {
	case <-before:
	case <-time.After(5 * time.Second):
		h.Fatal("not woken by a commit with changes")
	}
	if n := len(h.changes(0, 10)); n != 1 {
		h.Errorf("woken, %d changes visible", n)
	}
	select {
	case <-h.x.Committed():
		h.Fatal("the next channel is closed already")
	default:
	}
}

// logged commits n changes.
func (h *harness) logged(n int) {
	h.Helper()
	txn := efs.Txn{}
	for i := range n {
		txn.Changes = append(txn.Changes, fmt.Appendf(nil, "c%d", i))
	}
	h.commit(txn)
}

func trimmedLogIsTruncated(h *harness) {
	if first, last := h.bounds(); first != 1 || last != 0 {
		h.Errorf("an empty log has bounds %d, %d", first, last)
	}
	if n := len(h.changes(0, 10)); n != 0 {
		h.Errorf("an empty log has %d changes", n)
	}
	h.logged(2000)
	h.ok(h.x.TrimChanges(h.Context(), 0))
	h.ok(h.x.TrimChanges(h.Context(), 1300))
	if first, last := h.bounds(); first != 1301 || last != 2000 {
		h.Errorf("bounds %d, %d after trimming up to 1300 of 2000", first, last)
	}
	if c := h.changes(1300, 1); c[0].Seq != 1301 {
		h.Errorf("first change is %d", c[0].Seq)
	}
	for _, since := range []uint64{0, 1299} {
		_, err := h.x.Changes(h.Context(), since, 1)
		h.want(err, efs.ErrLogTruncated)
	}
	h.ok(h.x.TrimChanges(h.Context(), 99999))
	if first, last := h.bounds(); first != 2001 || last != 2000 {
		h.Errorf("bounds %d, %d of an emptied log of 2000", first, last)
	}
	_, err := h.x.Changes(h.Context(), 1999, 1)
	h.want(err, efs.ErrLogTruncated)
	if n := len(h.changes(2000, 10)); n != 0 {
		h.Errorf("an emptied log has %d changes", n)
	}
	h.reopen()
	if c := h.commit(efs.Txn{Changes: change("next")}); c.Seq != 2001 {
		h.Errorf("the next change is %d", c.Seq)
	}
	if c := h.changes(2000, 10); len(c) != 1 || c[0].Seq != 2001 {
		h.Errorf("changes after 2000: %v", c)
	}
}

func trimHonoursFollowers(h *harness) {
	h.logged(100)
	mark := func(kind efs.MarkKind, name string, seq uint64, expires time.Time) {
		h.Helper()
		h.ok(h.x.SetMark(h.Context(), efs.Mark{Kind: kind, Name: name, Seq: seq, Expires: expires}))
	}
	mark(efs.MarkFollower, "slow", 30, time.Time{})
	mark(efs.MarkFollower, "fast", 80, time.Now().Add(time.Hour))
	mark(efs.MarkFollower, "gone", 10, time.Now().Add(-time.Second))
	mark(efs.MarkHold, "hold", 5, time.Time{}) // holds keep contents, not changes
	for _, c := range []struct {
		upTo, first uint64
	}{{20, 21}, {100, 31}} {
		h.ok(h.x.TrimChanges(h.Context(), c.upTo))
		if first, _ := h.bounds(); first != c.first {
			h.Errorf("trimmed up to %d: log begins at %d, want %d", c.upTo, first, c.first)
		}
	}
	mark(efs.MarkFollower, "slow", 60, time.Time{})
	h.ok(h.x.TrimChanges(h.Context(), 100))
	if first, _ := h.bounds(); first != 61 {
		h.Errorf("after the follower moved the log begins at %d, want 61", first)
	}
	h.ok(h.x.DropMark(h.Context(), efs.MarkFollower, "slow"))
	h.ok(h.x.TrimChanges(h.Context(), 100))
	if first, _ := h.bounds(); first != 81 {
		h.Errorf("after the follower left the log begins at %d, want 81", first)
	}
}
