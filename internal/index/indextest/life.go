package indextest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
)

func everythingLasts(h *harness) {
	account := efs.NewID()
	c := h.commit(efs.Txn{
		Mutations: []efs.Mutation{put(entry("k"), "v"), put(key(efs.SpaceAccess, "user"), "key")},
		Changes:   change("c"),
		Usage:     []efs.Delta{{Account: account, Bytes: 3, Files: 1}},
	})
	before, err := h.x.Head(h.Context())
	h.ok(err)
	h.reopen()
	after, err := h.x.Head(h.Context())
	h.ok(err)
	if before != after || after.Revision != c.Revision || after.FS != FS {
		h.Errorf("head %+v before, %+v after", before, after)
	}
	if r := h.get(entry("k"))[0]; string(r.Sealed) != "v" || r.Version != c.Revision {
		h.Errorf("record %+v", r)
	}
	if ch := h.changes(0, 10); len(ch) != 1 || ch[0].Link != after.Link {
		h.Errorf("changes %v", ch)
	}
	h.ok(h.x.Err())
}

func headFollowsCommits(h *harness) {
	start, err := h.x.Head(h.Context())
	h.ok(err)
	if start.FS != FS || start.Seq != 0 || start.Link != [32]byte{} {
		h.Errorf("head of an empty index is %+v", start)
	}
	from := time.Now().Add(-time.Second).UnixMicro()
	c := h.commit(efs.Txn{Changes: change("c")})
	head, err := h.x.Head(h.Context())
	h.ok(err)
	if head.Seq != c.Seq || head.Revision != c.Revision || head.Link == start.Link || head.Time < from {
		h.Errorf("head %+v after %+v", head, c)
	}
}

func statsCount(h *harness) {
	before := h.x.Stats()
	h.commit(puts(entry("k"), "v"))
	_, err := h.x.Commit(h.Context(), &efs.Txn{Checks: []efs.Check{{Kind: efs.CheckPresent, Key: entry("none")}}})
	h.want(err, efs.ErrConflict)
	s := h.x.Stats()
	if s.Commits != before.Commits+1 || s.Transactions != before.Transactions+1 || s.Refused != before.Refused+1 {
		h.Errorf("stats %+v after %+v", s, before)
	}
	if s.SizeBytes <= 0 || s.FreeBytes < 0 || s.FreeBytes > s.SizeBytes {
		h.Errorf("sizes %+v", s)
	}
}

func closedIndexRefuses(h *harness) {
	h.commit(efs.Txn{Changes: change("c")})
	wait := h.x.Committed()
	h.ok(h.x.Close())
	h.ok(h.x.Close())
	select {
	case <-wait:
	default:
		h.Error("a follower still waits")
	}
	txn := puts(entry("k"), "v")
	for name, call := range map[string]func() error{
		"Commit":      func() error { _, err := h.x.Commit(background, &txn); return err },
		"Get":         func() error { _, err := h.x.Get(background, entry("k")); return err },
		"Scan":        func() error { _, err := h.x.Scan(background, efs.SpaceEntries, nil, nil, 1); return err },
		"Changes":     func() error { _, err := h.x.Changes(background, 0, 1); return err },
		"LogBounds":   func() error { _, _, err := h.x.LogBounds(background); return err },
		"Releasable":  func() error { _, err := h.x.Releasable(background, 1); return err },
		"Queued":      func() error { _, err := h.x.Queued(background, efs.Release{}, 1); return err },
		"Marks":       func() error { _, err := h.x.Marks(background); return err },
		"SetMark":     func() error { return h.x.SetMark(background, efs.Mark{Kind: efs.MarkHold, Name: "m"}) },
		"DropMark":    func() error { return h.x.DropMark(background, efs.MarkHold, "m") },
		"TrimChanges": func() error { return h.x.TrimChanges(background, 1) },
		"Usage":       func() error { _, err := h.x.Usage(background, FS); return err },
		"Head":        func() error { _, err := h.x.Head(background); return err },
		"Err":         h.x.Err,
		"Snapshot":    func() error { _, err := h.x.Snapshot(background); return err },
	} {
		if err := call(); err == nil {
			h.Errorf("%s works on a closed index", name)
		}
	}
	h.x.Stats()
	h.open()
}

// closeFinishesWhatIsQueued closes under load: what was confirmed is there
// afterwards, what was refused is not.
func closeFinishesWhatIsQueued(h *harness) {
	const writers = 32
	var confirmed [writers]atomic.Bool
	var started, ended sync.WaitGroup
	for w := range writers {
		started.Add(1)
		ended.Go(func() {
			started.Done()
			txn := puts(entry(fmt.Sprint(w)), "v")
			if _, err := h.x.Commit(context.Background(), &txn); err == nil {
				confirmed[w].Store(true)
			}
		})
	}
	started.Wait()
	h.ok(h.x.Close())
	ended.Wait()
	h.open()
	for w := range writers {
		if there := h.get(entry(fmt.Sprint(w)))[0].Version != 0; there != confirmed[w].Load() {
			h.Errorf("record %d: stored %v, confirmed %v", w, there, confirmed[w].Load())
		}
	}
}
