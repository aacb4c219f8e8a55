package indextest

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/efs-project/efs"
)

func (h *harness) snapshot() efs.IndexSnapshot {
	h.Helper()
	s, err := h.x.Snapshot(h.Context())
	h.ok(err)
	h.Cleanup(func() { _ = s.Close() })
	return s
}

func snapshotStaysAsItWas(h *harness) {
	account := efs.NewID()
	var last efs.Committed
	for i := range 300 {
		last = h.commit(efs.Txn{
			Mutations: []efs.Mutation{put(entry(fmt.Sprintf("k%03d", i)), fmt.Sprint("old ", i)), put(key(efs.SpaceInline, fmt.Sprint(i)), strings.Repeat("x", 2000))},
			Changes:   change("c"),
			Usage:     []efs.Delta{{Account: account, Bytes: 2, Files: 1}},
		})
	}
	h.commit(efs.Txn{Release: []efs.Release{{Content: efs.ID{6}}, {Content: efs.ID{7}, Inline: true}}})
	s := h.snapshot()
	head, err := h.x.Head(h.Context())
	h.ok(err)
	wantQueue := h.queued(efs.Release{}, 10)
	h.commit(efs.Txn{Release: []efs.Release{{Content: efs.ID{8}}}, Unqueue: wantQueue[:1]})
	if s.Head() != head || head.Seq != last.Seq {
		h.Errorf("snapshot is of %+v, the index stands at %+v", s.Head(), head)
	}
	for i := range 300 {
		m := put(entry(fmt.Sprintf("k%03d", i)), "new")
		if i%2 == 0 {
			m.Sealed = nil
		}
		h.commit(efs.Txn{Mutations: []efs.Mutation{m, put(entry(fmt.Sprintf("n%03d", i)), "new")}, Usage: []efs.Delta{{Account: account, Bytes: 5}}})
	}
	check := func() {
		h.Helper()
		recs, err := s.Scan(h.Context(), efs.SpaceEntries, nil, nil, 1000)
		h.ok(err)
		if len(recs) != 300 {
			h.Fatalf("snapshot has %d entries", len(recs))
		}
		for i, r := range recs {
			if string(r.Key) != fmt.Sprintf("k%03d", i) || string(r.Sealed) != fmt.Sprint("old ", i) || r.Version == 0 || r.Version > s.Head().Revision {
				h.Fatalf("entry %d of the snapshot is %s=%s, version %d", i, r.Key, r.Sealed, r.Version)
			}
		}
		one, err := s.Get(h.Context(), entry("k007"), entry("n007"))
		h.ok(err)
		if string(one[0].Sealed) != "old 7" || one[1].Version != 0 {
			h.Errorf("snapshot gives %v", one)
		}
		page, err := s.Scan(h.Context(), efs.SpaceEntries, []byte("k1"), []byte("k198"), 10)
		h.ok(err)
		if len(page) != 1 || string(page[0].Key) != "k199" {
			h.Errorf("page of the snapshot: %v", page)
		}
		if queue, err := s.Queued(h.Context(), efs.Release{}, 10); err != nil || len(queue) != 2 || !slices.Equal(queue, wantQueue) {
			h.Errorf("queue of the snapshot: %v, %v", queue, err)
		}
		u, err := s.Usage(h.Context(), account)
		h.ok(err)
		if u != (efs.Usage{Bytes: 600, Files: 300}) {
			h.Errorf("usage as of the snapshot: %+v", u)
		}
	}
	check()
	h.reopen()
	check() // it outlives the index
	h.ok(s.Close())
	h.ok(s.Close())
	if _, err := s.Get(h.Context(), entry("k007")); err == nil {
		h.Error("a closed snapshot still answers")
	}
}

func snapshotsAreApart(h *harness) {
	first := h.snapshot()
	h.commit(puts(entry("k"), "1"))
	second := h.snapshot()
	h.commit(puts(entry("k"), "2"))
	third := h.snapshot()
	for i, s := range []efs.IndexSnapshot{first, second, third} {
		r, err := s.Get(h.Context(), entry("k"))
		h.ok(err)
		if want := []string{"", "1", "2"}[i]; string(r[0].Sealed) != want {
			h.Errorf("snapshot %d has %q, want %q", i+1, r[0].Sealed, want)
		}
	}
	ended, cancel := context.WithCancel(h.Context())
	cancel()
	if _, err := h.x.Snapshot(ended); err == nil {
		h.Error("a snapshot is made although its context has ended")
	}
}

// snapshotsAreOfOneCommit takes snapshots under writers: in each transaction
// both records of a writer get the same number, and one change.
func snapshotsAreOfOneCommit(h *harness) {
	const writers, rounds = 4, 150
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range rounds {
				n := binary.BigEndian.AppendUint64(nil, uint64(i+1))
				_, err := h.x.Commit(background, &efs.Txn{Changes: change("c"), Mutations: []efs.Mutation{
					{Key: entry(fmt.Sprint("a", w)), Sealed: n}, {Key: key(efs.SpacePlaces, fmt.Sprint("b", w)), Sealed: n},
					put(key(efs.SpaceInline, fmt.Sprint(w, " ", i)), strings.Repeat("x", 8000)),
				}})
				if err != nil {
					h.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	for more := true; more; {
		select {
		case <-done:
			more = false
		default:
		}
		s := h.snapshot()
		sum := uint64(0)
		for w := range writers {
			r, err := s.Get(h.Context(), entry(fmt.Sprint("a", w)), key(efs.SpacePlaces, fmt.Sprint("b", w)))
			h.ok(err)
			if string(r[0].Sealed) != string(r[1].Sealed) {
				h.Errorf("snapshot shows half a transaction: %x and %x", r[0].Sealed, r[1].Sealed)
			}
			if len(r[0].Sealed) == 8 {
				sum += binary.BigEndian.Uint64(r[0].Sealed)
			}
		}
		if sum != s.Head().Seq {
			h.Errorf("snapshot shows %d transactions, its head is of %d", sum, s.Head().Seq)
		}
		inline := 0
		for after, page := []byte(nil), []efs.Record{{}}; len(page) > 0; after = page[len(page)-1].Key {
			var err error
			if page, err = s.Scan(h.Context(), efs.SpaceInline, nil, after, 100); err != nil {
				h.Fatal(err)
			}
			if inline += len(page); len(page) == 0 {
				break
			}
		}
		if uint64(inline) != sum {
			h.Errorf("snapshot has %d contents after %d transactions", inline, sum)
		}
		h.ok(s.Close())
	}
}
