package indextest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"pgregory.net/rapid"
)

// model is what an index should hold, kept in maps.
type model struct {
	records map[string]efs.Record // by space and key
	changes []string              // by seq-1
	first   uint64                // of the log
	queue   []efs.Release
	marks   map[string]efs.Mark
	usage   efs.Usage
	head    efs.Committed
}

const modelQuota = 50

// behavesLikeItsModel compares index and model under random operations.
func behavesLikeItsModel(h *harness) {
	m := &model{records: map[string]efs.Record{}, marks: map[string]efs.Mark{}, first: 1}
	rapid.Check(h.T, func(t *rapid.T) {
		// The index goes on from where the last run left it: states that a
		// fresh one would not reach.
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				h.modelTrim(t, m)
			case 1:
				h.modelMark(t, m)
			case 2:
				if rapid.IntRange(0, 4).Draw(t, "reopen") == 0 {
					h.reopen()
				}
			default:
				h.modelCommit(t, m)
			}
		}
		h.compare(t, m)
	})
}

func modelKey(k efs.Key) string { return string(rune('A'+k.Space)) + string(k.Bytes) }

func drawKey(t *rapid.T) efs.Key {
	return efs.Key{
		Space: rapid.SampledFrom([]efs.Space{efs.SpaceEntries, efs.SpaceInline, efs.SpaceMeta}).Draw(t, "space"),
		Bytes: []byte(rapid.StringMatching(`[ab]{1,4}`).Draw(t, "key")),
	}
}

func (h *harness) modelCommit(t *rapid.T, m *model) {
	txn := &efs.Txn{}
	wantErr := error(nil)
	for range rapid.IntRange(0, 2).Draw(t, "checks") {
		c := efs.Check{Kind: rapid.SampledFrom([]efs.CheckKind{efs.CheckVersion, efs.CheckPresent, efs.CheckNoneUnder}).Draw(t, "kind"), Key: drawKey(t)}
		now := m.records[modelKey(c.Key)].Version
		holds := now != 0
		switch c.Kind {
		case efs.CheckVersion:
			c.Version = rapid.SampledFrom([]uint64{now, now, 0, now + 1}).Draw(t, "version")
			holds = c.Version == now
		case efs.CheckNoneUnder:
			holds = !slices.ContainsFunc(slices.Collect(maps.Keys(m.records)), func(k string) bool {
				return strings.HasPrefix(k, modelKey(c.Key))
			})
		}
		if !holds && wantErr == nil {
			wantErr = efs.ErrConflict
		}
		txn.Checks = append(txn.Checks, c)
	}
	for range rapid.IntRange(0, 4).Draw(t, "mutations") {
		mut := efs.Mutation{Key: drawKey(t)}
		if rapid.Bool().Draw(t, "put") {
			mut.Sealed = bytes.Repeat([]byte{'v'}, rapid.SampledFrom([]int{0, 1, 300, 5000}).Draw(t, "size"))
		}
		txn.Mutations = append(txn.Mutations, mut)
	}
	for range rapid.IntRange(0, 2).Draw(t, "changes") {
		txn.Changes = append(txn.Changes, []byte(rapid.StringN(0, 9, 9).Draw(t, "change")))
	}
	if rapid.Bool().Draw(t, "release") {
		txn.Release = []efs.Release{{Content: efs.NewID(), Inline: rapid.Bool().Draw(t, "inline")}}
	}
	if len(m.queue) > 0 && rapid.Bool().Draw(t, "unqueue") {
		txn.Unqueue = []efs.Release{rapid.SampledFrom(m.queue).Draw(t, "gone")}
	}
	d := efs.Delta{Account: FS, Bytes: rapid.Int64Range(-20, 20).Draw(t, "bytes"), MaxBytes: modelQuota}
	txn.Usage = []efs.Delta{d}
	if wantErr == nil && d.Bytes > 0 && m.usage.Bytes+d.Bytes > modelQuota {
		wantErr = efs.ErrQuota
	}

	c, err := h.x.Commit(background, txn)
	if !errors.Is(err, wantErr) {
		t.Fatalf("commit: %v, want %v", err, wantErr)
	}
	if err == nil {
		m.apply(txn, c)
	}
}

func (m *model) apply(txn *efs.Txn, c efs.Committed) {
	for _, mut := range txn.Mutations {
		if mut.Sealed == nil {
			delete(m.records, modelKey(mut.Key))
		} else {
			m.records[modelKey(mut.Key)] = efs.Record{Key: mut.Key.Bytes, Version: c.Revision, Sealed: mut.Sealed}
		}
	}
	for _, ch := range txn.Changes {
		m.changes = append(m.changes, string(ch))
	}
	for _, r := range txn.Release {
		r.Revision, r.Seq = c.Revision, uint64(len(m.changes))
		m.queue = append(m.queue, r)
	}
	for _, r := range txn.Unqueue {
		m.queue = slices.DeleteFunc(m.queue, func(q efs.Release) bool { return q == r })
	}
	m.usage.Bytes += txn.Usage[0].Bytes
	m.head = c
}

func (h *harness) modelTrim(t *rapid.T, m *model) {
	upTo := rapid.Uint64Range(0, uint64(len(m.changes))+2).Draw(t, "up to")
	h.ok(h.x.TrimChanges(background, upTo))
	for _, mark := range m.marks {
		if mark.Kind == efs.MarkFollower {
			upTo = min(upTo, mark.Seq)
		}
	}
	m.first = max(m.first, min(upTo, uint64(len(m.changes)))+1)
}

func (h *harness) modelMark(t *rapid.T, m *model) {
	mark := efs.Mark{
		Kind: rapid.SampledFrom([]efs.MarkKind{efs.MarkHold, efs.MarkFollower}).Draw(t, "kind"),
		Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"),
		Seq:  rapid.Uint64Range(0, uint64(len(m.changes))).Draw(t, "seq"),
	}
	k := fmt.Sprint(mark.Kind, mark.Name)
	if rapid.Bool().Draw(t, "drop") {
		h.ok(h.x.DropMark(background, mark.Kind, mark.Name))
		delete(m.marks, k)
		return
	}
	mark.Expires = rapid.SampledFrom([]time.Time{{}, time.Now().Add(time.Hour), time.Now().Add(-time.Hour)}).Draw(t, "expires")
	h.ok(h.x.SetMark(background, mark))
	if delete(m.marks, k); mark.Expires.IsZero() || mark.Expires.After(time.Now()) {
		m.marks[k] = mark
	}
}

// compare checks that everything an index tells is what the model says.
func (h *harness) compare(t *rapid.T, m *model) {
	n := 0
	for s := range efs.Spaces {
		records, err := h.x.Scan(background, efs.Space(s+1), nil, nil, 1000)
		h.ok(err)
		for i, r := range records {
			want := m.records[modelKey(efs.Key{Space: efs.Space(s + 1), Bytes: r.Key})]
			if r.Version != want.Version || !bytes.Equal(r.Sealed, want.Sealed) {
				t.Fatalf("record %s has version %d, want %d", r.Key, r.Version, want.Version)
			}
			if i > 0 && bytes.Compare(records[i-1].Key, r.Key) >= 0 {
				t.Fatalf("scan out of order at %s", r.Key)
			}
			n++
		}
	}
	if n != len(m.records) {
		t.Fatalf("%d records, want %d", n, len(m.records))
	}
	first, last := h.bounds()
	if first != m.first || last != uint64(len(m.changes)) {
		t.Fatalf("log from %d to %d, want %d to %d", first, last, m.first, len(m.changes))
	}
	for _, c := range h.changes(first-1, len(m.changes)+1) {
		if string(c.Sealed) != m.changes[c.Seq-1] {
			t.Fatalf("change %d is %q, want %q", c.Seq, c.Sealed, m.changes[c.Seq-1])
		}
	}
	if got := h.queued(efs.Release{}, 1000); !slices.Equal(got, m.queue) {
		t.Fatalf("queue %v, want %v", got, m.queue)
	}
	if marks, err := h.x.Marks(background); err != nil || len(marks) != len(m.marks) {
		t.Fatalf("marks %v (%v), want %v", marks, err, m.marks)
	}
	if u, err := h.x.Usage(background, FS); err != nil || u != m.usage {
		t.Fatalf("usage %v (%v), want %v", u, err, m.usage)
	}
	if head, err := h.x.Head(background); err != nil || head.Revision != m.head.Revision || head.Seq != uint64(len(m.changes)) {
		t.Fatalf("head %+v (%v), want %+v", head, err, m.head)
	}
}
