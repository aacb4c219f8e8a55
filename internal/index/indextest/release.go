package indextest

import (
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
)

func (h *harness) releasable(limit int) []efs.Release {
	h.Helper()
	r, err := h.x.Releasable(h.Context(), limit)
	h.ok(err)
	return r
}

func (h *harness) queued(after efs.Release, limit int) []efs.Release {
	h.Helper()
	r, err := h.x.Queued(h.Context(), after, limit)
	h.ok(err)
	return r
}

func releasesAreQueuedInOrder(h *harness) {
	a, b, c := efs.ID{9}, efs.ID{1}, efs.ID{5}
	first := h.commit(efs.Txn{Changes: change("1"), Release: []efs.Release{
		{Content: a, Revision: 77, Seq: 88}, // what the engine sets is not taken over
	}})
	second := h.commit(efs.Txn{Changes: change("2"), Release: []efs.Release{{Content: c, Inline: true}, {Content: b}}})
	want := []efs.Release{
		{Revision: first.Revision, Seq: 1, Content: a},
		{Revision: second.Revision, Seq: 2, Content: b},
		{Revision: second.Revision, Seq: 2, Content: c, Inline: true},
	}
	if got := h.releasable(10); !slices.Equal(got, want) {
		h.Fatalf("releasable %v, want %v", got, want)
	}
	if got := h.releasable(2); !slices.Equal(got, want[:2]) {
		h.Errorf("limited to two: %v", got)
	}
	if got := h.queued(efs.Release{}, 2); !slices.Equal(got, want[:2]) {
		h.Errorf("queued, first page: %v", got)
	}
	if got := h.queued(want[1], 2); !slices.Equal(got, want[2:]) {
		h.Errorf("queued, second page: %v", got)
	}
	h.commit(efs.Txn{Unqueue: []efs.Release{want[1], {Revision: 999, Content: a}}})
	if got := h.queued(efs.Release{}, 10); !slices.Equal(got, []efs.Release{want[0], want[2]}) {
		h.Errorf("after one has gone: %v", got)
	}
	h.reopen()
	if got := h.releasable(10); !slices.Equal(got, []efs.Release{want[0], want[2]}) {
		h.Errorf("after reopening: %v", got)
	}
}

func holdsProtectReleases(h *harness) {
	contents := func(rs []efs.Release) (s string) {
		for _, r := range rs {
			s += string(rune('0' + r.Content[0]))
		}
		return s
	}
	for i := range 3 {
		h.commit(efs.Txn{Changes: change("c"), Release: []efs.Release{{Content: efs.ID{byte(i + 1)}}}})
	}
	expect := func(want string) {
		h.Helper()
		if got := contents(h.releasable(10)); got != want {
			h.Errorf("releasable %q, want %q", got, want)
		}
		if got := contents(h.queued(efs.Release{}, 10)); !strings.HasPrefix(got, "123") {
			h.Errorf("queued %q", got)
		}
	}
	hold := func(name string, seq uint64, expires time.Time) {
		h.Helper()
		h.ok(h.x.SetMark(h.Context(), efs.Mark{Kind: efs.MarkHold, Name: name, Seq: seq, Expires: expires}))
	}
	expect("123")
	hold("backup", 2, time.Time{})
	expect("12")
	hold("reader", 1, time.Now().Add(time.Hour))
	expect("1")
	hold("reader", 0, time.Now().Add(time.Hour))
	expect("")
	hold("reader", 0, time.Now().Add(-time.Second))
	expect("12")
	h.ok(h.x.SetMark(h.Context(), efs.Mark{Kind: efs.MarkFollower, Name: "tier", Seq: 0}))
	expect("12")

	// Dropped by a transaction without a change, after change 3: a hold taken
	// at 3 before it must keep the content.
	hold("backup", 3, time.Time{})
	h.commit(efs.Txn{Release: []efs.Release{{Content: efs.ID{4}}}})
	expect("123")
	h.reopen()
	expect("123")
	h.ok(h.x.DropMark(h.Context(), efs.MarkHold, "backup"))
	expect("1234")
}

func marksLastAndExpire(h *harness) {
	soon := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	marks := []efs.Mark{
		{Kind: efs.MarkHold, Name: "a", Seq: 7, Expires: soon},
		{Kind: efs.MarkHold, Name: "b", Seq: 0},
		{Kind: efs.MarkFollower, Name: "a", Seq: 9},
	}
	for _, m := range marks {
		h.ok(h.x.SetMark(h.Context(), m))
	}
	h.ok(h.x.SetMark(h.Context(), efs.Mark{Kind: efs.MarkHold, Name: "past", Expires: time.Now().Add(-time.Hour)}))
	for range 2 {
		got, err := h.x.Marks(h.Context())
		h.ok(err)
		if !slices.EqualFunc(got, marks, func(a, b efs.Mark) bool {
			return a.Kind == b.Kind && a.Name == b.Name && a.Seq == b.Seq && a.Expires.Equal(b.Expires)
		}) {
			h.Fatalf("marks %v, want %v", got, marks)
		}
		h.reopen()
	}
	h.ok(h.x.DropMark(h.Context(), efs.MarkHold, "a"))
	h.ok(h.x.DropMark(h.Context(), efs.MarkHold, "a"))
	got, err := h.x.Marks(h.Context())
	h.ok(err)
	if len(got) != 2 {
		h.Errorf("after dropping one: %v", got)
	}
	h.want(h.x.SetMark(h.Context(), efs.Mark{Name: "of no kind"}), efs.ErrBadInput)
	h.want(h.x.SetMark(h.Context(), efs.Mark{Kind: efs.MarkHold}), efs.ErrBadInput)
	h.want(h.x.DropMark(h.Context(), efs.MarkHold, strings.Repeat("n", 300)), efs.ErrBadInput)
}

func usageAndQuota(h *harness) {
	a, b := efs.NewID(), efs.NewID()
	charge := func(ds ...efs.Delta) error {
		_, err := h.x.Commit(h.Context(), &efs.Txn{Usage: ds, Mutations: []efs.Mutation{put(entry("k"), "v")}})
		return err
	}
	usage := func(id efs.ID, bytes, files int64) {
		h.Helper()
		u, err := h.x.Usage(h.Context(), id)
		h.ok(err)
		if u != (efs.Usage{Bytes: bytes, Files: files}) {
			h.Errorf("usage %+v, want %d bytes, %d files", u, bytes, files)
		}
	}
	usage(a, 0, 0)
	h.ok(charge(efs.Delta{Account: a, Bytes: 60, Files: 1, MaxBytes: 100}, efs.Delta{Account: b, Bytes: 5}))
	usage(a, 60, 1)
	usage(b, 5, 0)
	h.want(charge(efs.Delta{Account: a, Bytes: 41, MaxBytes: 100}), efs.ErrQuota)
	h.want(charge(efs.Delta{Account: b, Bytes: 1}, efs.Delta{Account: a, Files: 1, MaxFiles: 1}), efs.ErrQuota)
	h.want(charge(efs.Delta{Account: a, Bytes: 20, MaxBytes: 100}, efs.Delta{Account: a, Bytes: 21, MaxBytes: 100}), efs.ErrQuota)
	usage(a, 60, 1)
	usage(b, 5, 0)
	h.ok(charge(efs.Delta{Account: a, Bytes: 20, MaxBytes: 100}, efs.Delta{Account: a, Bytes: 20, MaxBytes: 100}))
	usage(a, 100, 1)
	// Giving back is never refused, however far above its bound an account is.
	h.ok(charge(efs.Delta{Account: a, Bytes: -10, MaxBytes: 50, Files: -1, MaxFiles: 1}))
	usage(a, 90, 0)
	h.want(charge(efs.Delta{Account: a, Bytes: -1, Files: 2, MaxFiles: 1}), efs.ErrQuota)
	h.want(charge(efs.Delta{Account: a, Bytes: 1<<63 - 1}), efs.ErrQuota)
	h.reopen()
	usage(a, 90, 0)
	h.ok(charge(efs.Delta{Account: a, Bytes: -90}))
	usage(a, 0, 0)
}
