// Package blobtest is what every efs.Blobs must pass: a test for each sentence
// of its contract.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

// Opener opens the store of one test, making it the first time. What it opened
// before has been closed.
type Opener func() (efs.Blobs, error)

// Run runs the suite. newStore makes a store that lasts as long as its test.
func Run(t *testing.T, newStore func(t *testing.T) Opener) {
	for _, c := range []struct {
		name string
		run  func(*harness)
	}{
		{"WhatIsStoredIsRead", whatIsStoredIsRead},
		{"ReadsAtOffsets", readsAtOffsets},
		{"UncommittedIsInvisible", uncommittedIsInvisible},
		{"AbortLeavesNothing", abortLeavesNothing},
		{"EndsOnce", endsOnce},
		{"IdsAreTakenOnce", idsAreTakenOnce},
		{"SettleKeepsWhatIsThere", settleKeepsWhatIsThere},
		{"ReadersAreNotDisturbed", readersAreNotDisturbed},
		{"RemoveRemoves", removeRemoves},
		{"QuarantineHidesAndPurges", quarantineHidesAndPurges},
		{"UnsettledAndWalk", unsettledAndWalk},
		{"WalkStopsWhenTold", walkStopsWhenTold},
		{"WalkMayRemove", walkMayRemove},
		{"ConcurrentUse", concurrentUse},
		{"ReadersFindWhatIsBeingSettled", readersFindWhatIsBeingSettled},
		{"EndedContextsAreRefused", endedContextsAreRefused},
		{"LayoutTells", layoutTells},
		{"ClosedStoreRefuses", closedStoreRefuses},
		{"LastsOverReopening", lastsOverReopening},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &harness{T: t, opener: newStore(t)}
			h.open()
			t.Cleanup(func() {
				if err := h.s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			c.run(h)
		})
	}
}

// harness is a store under test, with the calls that tests make all the time.
type harness struct {
	*testing.T
	opener Opener
	s      efs.Blobs
}

func (h *harness) open() {
	h.Helper()
	s, err := h.opener()
	if err != nil {
		h.Fatalf("open: %v", err)
	}
	h.s = s
}

func (h *harness) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) want(err, kind error) {
	h.Helper()
	if !errors.Is(err, kind) {
		h.Fatalf("error %v, want %v", err, kind)
	}
}

func (h *harness) create(id efs.ID) efs.NewBlob {
	h.Helper()
	b, err := h.s.Create(h.Context(), id)
	h.ok(err)
	return b
}

func (h *harness) store(content string) efs.ID {
	h.Helper()
	id := efs.NewID()
	h.ok(store(h.s, id, content))
	return id
}

func store(s efs.Blobs, id efs.ID, content string) error {
	b, err := s.Create(context.Background(), id)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(b, content); err != nil {
		b.Abort()
		return err
	}
	return b.Commit()
}

// holds checks that a blob is there, whole.
func (h *harness) holds(id efs.ID, content string) {
	h.Helper()
	if err := holds(h.s, id, content); err != nil {
		h.Fatal(err)
	}
}

func holds(s efs.Blobs, id efs.ID, content string) error {
	b, err := s.Open(context.Background(), id)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()+1))
	if err == nil && (string(got) != content || b.Size() != int64(len(content))) {
		err = fmt.Errorf("blob holds %d bytes of size %d, want %d", len(got), b.Size(), len(content))
	}
	return errors.Join(err, b.Close())
}

func (h *harness) missing(id efs.ID) {
	h.Helper()
	_, err := h.s.Open(h.Context(), id)
	h.want(err, efs.ErrNotFound)
}

// ids collects what Walk or Unsettled tell of, failing on repetition.
func (h *harness) ids(walk func(context.Context, func(efs.BlobInfo) error) error) map[efs.ID]efs.BlobInfo {
	h.Helper()
	found := map[efs.ID]efs.BlobInfo{}
	h.ok(walk(h.Context(), func(b efs.BlobInfo) error {
		if _, ok := found[b.ID]; ok {
			h.Errorf("blob %s told of twice", b.ID)
		}
		found[b.ID] = b
		return nil
	}))
	return found
}

func whatIsStoredIsRead(h *harness) {
	large := string(bytes.Repeat([]byte("0123456789abcde"), 2<<20)) // 30 MiB
	for _, content := range []string{"", "x", "some sealed bytes", large} {
		h.holds(h.store(content), content)
	}
	id := efs.NewID()
	b := h.create(id)
	for i := range 1000 {
		n, err := fmt.Fprintf(b, "%04d", i)
		if n != 4 || err != nil {
			h.Fatalf("write: %d, %v", n, err)
		}
	}
	h.ok(b.Commit())
	r, err := h.s.Open(h.Context(), id)
	h.ok(err)
	got := make([]byte, 8)
	_, err = r.ReadAt(got, 3992)
	h.ok(err)
	h.ok(r.Close())
	if r.Size() != 4000 || string(got) != "09980999" {
		h.Errorf("size %d, end %q", r.Size(), got)
	}
}

func readsAtOffsets(h *harness) {
	b, err := h.s.Open(h.Context(), h.store("0123456789"))
	h.ok(err)
	defer func() { h.ok(b.Close()) }()
	for _, c := range []struct {
		off  int64
		len  int
		want string
		err  error
	}{{0, 3, "012", nil}, {7, 3, "789", nil}, {8, 3, "89", io.EOF}, {10, 1, "", io.EOF}, {99, 1, "", io.EOF}} {
		p := make([]byte, c.len)
		n, err := b.ReadAt(p, c.off)
		if string(p[:n]) != c.want || err != c.err {
			h.Errorf("read of %d at %d: %q, %v", c.len, c.off, p[:n], err)
		}
	}
}

func uncommittedIsInvisible(h *harness) {
	id := efs.NewID()
	b := h.create(id)
	_, err := io.WriteString(b, "not yet")
	h.ok(err)
	h.missing(id)
	h.want(h.s.Settle(h.Context(), id), efs.ErrNotFound)
	h.ok(h.s.Remove(h.Context(), id))
	if n := len(h.ids(h.s.Walk)) + len(h.ids(h.s.Unsettled)); n != 0 {
		h.Errorf("told of %d blobs", n)
	}
	h.ok(b.Commit())
	h.holds(id, "not yet")
}

func abortLeavesNothing(h *harness) {
	id := efs.NewID()
	b := h.create(id)
	_, err := io.WriteString(b, "never")
	h.ok(err)
	b.Abort()
	h.missing(id)
	if n := len(h.ids(h.s.Walk)); n != 0 {
		h.Errorf("told of %d blobs", n)
	}
	h.ok(store(h.s, id, "the id is free again"))
	h.holds(id, "the id is free again")
}

func endsOnce(h *harness) {
	id := efs.NewID()
	b := h.create(id)
	h.ok(b.Commit())
	b.Abort()
	h.holds(id, "")
	if err := b.Commit(); err == nil {
		h.Error("committed twice")
	}
	if _, err := b.Write([]byte("more")); err == nil {
		h.Error("written after its end")
	}
	h.holds(id, "")
	b = h.create(efs.NewID())
	b.Abort()
	if err := b.Commit(); err == nil {
		h.Error("committed after it was aborted")
	}
}

func idsAreTakenOnce(h *harness) {
	id := h.store("first")
	_, err := h.s.Create(h.Context(), id)
	h.want(err, efs.ErrExists)
	h.ok(h.s.Settle(h.Context(), id))
	_, err = h.s.Create(h.Context(), id)
	h.want(err, efs.ErrExists)
	h.holds(id, "first")

	b := h.create(efs.NewID())
	defer b.Abort()
	_, err = h.s.Create(h.Context(), efs.ID{})
	h.want(err, efs.ErrBadInput)
}

func settleKeepsWhatIsThere(h *harness) {
	id := h.store("content")
	for range 3 { // idempotent
		h.ok(h.s.Settle(h.Context(), id))
		h.holds(id, "content")
	}
	h.want(h.s.Settle(h.Context(), efs.NewID()), efs.ErrNotFound)
}

func readersAreNotDisturbed(h *harness) {
	id := h.store("content")
	b, err := h.s.Open(h.Context(), id)
	h.ok(err)
	defer func() { h.ok(b.Close()) }()
	read := func() {
		h.Helper()
		p := make([]byte, 7)
		if _, err := b.ReadAt(p, 0); err != nil || string(p) != "content" {
			h.Errorf("read %q, %v", p, err)
		}
	}
	h.ok(h.s.Settle(h.Context(), id))
	read()
	h.ok(h.s.Remove(h.Context(), id))
	read()
}

func removeRemoves(h *harness) {
	fresh, settled := h.store("a"), h.store("b")
	h.ok(h.s.Settle(h.Context(), settled))
	for _, id := range []efs.ID{fresh, settled} {
		for range 2 { // removing what is not there is no error
			h.ok(h.s.Remove(h.Context(), id))
			h.missing(id)
		}
	}
	h.ok(h.s.Remove(h.Context(), efs.NewID()))
	if n := len(h.ids(h.s.Walk)); n != 0 {
		h.Errorf("%d blobs are left", n)
	}
}

func quarantineHidesAndPurges(h *harness) {
	fresh, settled, kept := h.store("a"), h.store("b"), h.store("c")
	h.ok(h.s.Settle(h.Context(), settled))
	for _, id := range []efs.ID{fresh, settled} {
		h.ok(h.s.Quarantine(h.Context(), id))
		h.missing(id)
		h.want(h.s.Quarantine(h.Context(), id), efs.ErrNotFound)
	}
	if found := h.ids(h.s.Walk); len(found) != 1 || found[kept].Size != 1 {
		h.Errorf("walk tells of %v, want %s alone", found, kept)
	}
	for _, c := range []struct {
		before time.Time
		want   int
	}{{time.Now().Add(-time.Hour), 0}, {time.Now().Add(time.Hour), 2}, {time.Now().Add(time.Hour), 0}} {
		n, err := h.s.PurgeQuarantine(h.Context(), c.before)
		h.ok(err)
		if n != c.want {
			h.Errorf("purged %d before %v, want %d", n, c.before, c.want)
		}
	}
	h.holds(kept, "c")
}

func unsettledAndWalk(h *harness) {
	from := time.Now().Add(-time.Minute)
	settled, fresh := map[efs.ID]bool{}, map[efs.ID]bool{}
	for i := range 40 {
		id := h.store(fmt.Sprintf("%d", 10+i))
		if fresh[id] = i%2 == 0; !fresh[id] {
			delete(fresh, id)
			settled[id] = true
			h.ok(h.s.Settle(h.Context(), id))
		}
	}
	found := h.ids(h.s.Walk)
	if len(found) != 40 {
		h.Errorf("walk tells of %d blobs of 40", len(found))
	}
	for id, b := range found {
		if !settled[id] && !fresh[id] || b.Unsorted != fresh[id] {
			h.Errorf("walk tells of %+v", b)
		}
		if b.Size != 2 || b.Modified.Before(from) || b.Modified.After(time.Now().Add(time.Minute)) {
			h.Errorf("walk tells of %+v, want 2 bytes of now", b)
		}
	}
	unsettled := h.ids(h.s.Unsettled)
	if len(unsettled) != len(fresh) {
		h.Errorf("%d unsettled blobs of %d", len(unsettled), len(fresh))
	}
	for id, b := range unsettled {
		if !fresh[id] || !b.Unsorted || b.Size != 2 {
			h.Errorf("unsettled: %+v", b)
		}
	}
}

func walkStopsWhenTold(h *harness) {
	h.store("fresh")
	h.ok(h.s.Settle(h.Context(), h.store("settled")))
	stop := errors.New("enough")
	for name, walk := range map[string]func(context.Context, func(efs.BlobInfo) error) error{"walk": h.s.Walk, "unsettled": h.s.Unsettled} {
		n := 0
		err := walk(h.Context(), func(efs.BlobInfo) error { n++; return stop })
		if !errors.Is(err, stop) || n != 1 {
			h.Errorf("%s: %d calls, %v", name, n, err)
		}
		ctx, cancel := context.WithCancel(h.Context())
		cancel()
		h.want(walk(ctx, func(efs.BlobInfo) error { return nil }), context.Canceled)
	}
}

func walkMayRemove(h *harness) {
	for i := range 30 {
		id := h.store("x")
		if i%3 != 0 {
			h.ok(h.s.Settle(h.Context(), id))
		}
	}
	n := 0
	h.ok(h.s.Walk(h.Context(), func(b efs.BlobInfo) error {
		n++
		if n%2 == 0 {
			return h.s.Quarantine(h.Context(), b.ID)
		}
		return h.s.Remove(h.Context(), b.ID)
	}))
	if left := len(h.ids(h.s.Walk)); n != 30 || left != 0 {
		h.Errorf("walked over %d of 30, %d are left", n, left)
	}
}

func concurrentUse(h *harness) {
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 10 {
				if err := liveOneLife(h.s, fmt.Sprintf("%d of %d", i, w)); err != nil {
					h.Errorf("%d: %v", w, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(h.ids(h.s.Walk)); n != 0 {
		h.Errorf("%d blobs are left", n)
	}
}

func liveOneLife(s efs.Blobs, content string) error {
	ctx, id := context.Background(), efs.NewID()
	for _, step := range []func() error{
		func() error { return store(s, id, content) },
		func() error { return holds(s, id, content) },
		func() error { return s.Settle(ctx, id) },
		func() error { return holds(s, id, content) },
		func() error { return s.Remove(ctx, id) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if _, err := s.Open(ctx, id); !errors.Is(err, efs.ErrNotFound) {
		return fmt.Errorf("opened after it was removed: %w", err)
	}
	return nil
}

func readersFindWhatIsBeingSettled(h *harness) {
	for range 50 {
		id := h.store("content")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := holds(h.s, id, "content"); err != nil {
					h.Error(err)
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				if err := h.s.Settle(h.Context(), id); err != nil {
					h.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

func endedContextsAreRefused(h *harness) {
	id := h.store("content")
	ctx, cancel := context.WithCancel(h.Context())
	cancel()
	for name, call := range map[string]func() error{
		"Create":     func() error { _, err := h.s.Create(ctx, efs.NewID()); return err },
		"Open":       func() error { _, err := h.s.Open(ctx, id); return err },
		"Settle":     func() error { return h.s.Settle(ctx, id) },
		"Remove":     func() error { return h.s.Remove(ctx, id) },
		"Quarantine": func() error { return h.s.Quarantine(ctx, id) },
		"Purge":      func() error { _, err := h.s.PurgeQuarantine(ctx, time.Now()); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			h.Errorf("%s: %v", name, err)
		}
	}
	h.holds(id, "content")
}

func layoutTells(h *harness) {
	l := h.s.Layout()
	if l.Volume == "" || l.MaxDir <= 0 || l.Reached < 1_000_000_000 {
		h.Errorf("layout %+v", l)
	}
}

func closedStoreRefuses(h *harness) {
	id := h.store("content")
	writing := h.create(efs.NewID())
	late := h.create(efs.NewID())
	h.ok(h.s.Close())
	h.ok(h.s.Close())
	ctx, none := h.Context(), func(efs.BlobInfo) error { return nil }
	for name, call := range map[string]func() error{
		"Create":     func() error { _, err := h.s.Create(ctx, efs.NewID()); return err },
		"Open":       func() error { _, err := h.s.Open(ctx, id); return err },
		"Settle":     func() error { return h.s.Settle(ctx, id) },
		"Remove":     func() error { return h.s.Remove(ctx, id) },
		"Quarantine": func() error { return h.s.Quarantine(ctx, id) },
		"Purge":      func() error { _, err := h.s.PurgeQuarantine(ctx, time.Now()); return err },
		"Walk":       func() error { return h.s.Walk(ctx, none) },
		"Unsettled":  func() error { return h.s.Unsettled(ctx, none) },
		"Commit":     late.Commit,
	} {
		if err := call(); err == nil {
			h.Errorf("%s works on a closed store", name)
		}
	}
	writing.Abort()
	h.s.Layout()
	h.open()
	h.holds(id, "content")
	if n := len(h.ids(h.s.Walk)); n != 1 {
		h.Errorf("%d blobs, want the committed one", n)
	}
}

func lastsOverReopening(h *harness) {
	fresh, settled, hidden, removed := h.store("a"), h.store("b"), h.store("c"), h.store("d")
	h.ok(h.s.Settle(h.Context(), settled))
	h.ok(h.s.Quarantine(h.Context(), hidden))
	h.ok(h.s.Remove(h.Context(), removed))
	half := h.create(efs.NewID())
	_, err := io.WriteString(half, "not to be found again")
	h.ok(err)
	before := h.s.Layout()
	h.ok(h.s.Close())
	half.Abort()
	h.open()
	h.holds(fresh, "a")
	h.holds(settled, "b")
	h.missing(hidden)
	h.missing(removed)
	if found := h.ids(h.s.Unsettled); len(found) != 1 || !found[fresh].Unsorted {
		h.Errorf("unsettled: %v", found)
	}
	if after := h.s.Layout(); after != before {
		h.Errorf("layout %+v, was %+v", after, before)
	}
	if n, err := h.s.PurgeQuarantine(h.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
		h.Errorf("purged %d, %v", n, err)
	}
}
