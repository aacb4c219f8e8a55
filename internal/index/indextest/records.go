package indextest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/efs-project/efs"
)

func getReturnsRecordsInOrder(h *harness) {
	h.commit(efs.Txn{Mutations: []efs.Mutation{put(entry("a"), "1"), put(entry("b"), ""), put(entry("c"), "3")}})
	got := h.get(entry("c"), entry("none"), entry("a"), entry("b"), entry("a"))
	for i, want := range []string{"c=3", "none=", "a=1", "b=", "a=1"} {
		if s := fmt.Sprintf("%s=%s", got[i].Key, got[i].Sealed); s != want {
			h.Errorf("record %d is %s, want %s", i, s, want)
		}
	}
	if got[1].Version != 0 || got[1].Sealed != nil {
		h.Errorf("absent record has version %d and value %v", got[1].Version, got[1].Sealed)
	}
	if got[3].Version == 0 {
		h.Error("an empty value is taken for an absent record")
	}
	if none := h.get(); len(none) != 0 {
		h.Errorf("no keys give %d records", len(none))
	}
	h.commit(efs.Txn{Mutations: []efs.Mutation{{Key: entry("a")}, {Key: entry("never was")}}})
	if r := h.get(entry("a"))[0]; r.Version != 0 {
		h.Error("deleted record is still there")
	}
}

func returnedMemoryIsTheCallers(h *harness) {
	h.commit(puts(entry("key"), "value"))
	value := []byte("handed over")
	h.commit(efs.Txn{Mutations: []efs.Mutation{{Key: entry("own"), Sealed: value}}, Changes: [][]byte{value}})
	copy(value, "overwritten")

	got := h.get(entry("key"))[0]
	scanned, err := h.x.Scan(h.Context(), efs.SpaceEntries, nil, nil, 10)
	h.ok(err)
	logged := h.changes(0, 1)
	for i := range 50 { // pages are used anew
		h.commit(puts(entry("key"), strings.Repeat(string(rune('A'+i%26)), 3000)))
	}
	clear(got.Sealed[:1])
	if string(got.Sealed) != "\x00alue" || string(scanned[0].Key) != "key" || string(scanned[0].Sealed) != "value" {
		h.Errorf("records changed after they were returned: %q %v", got.Sealed, scanned)
	}
	if string(scanned[1].Sealed) != "handed over" || string(logged[0].Sealed) != "handed over" {
		h.Errorf("what was committed changed with the caller's memory: %q %q", scanned[1].Sealed, logged[0].Sealed)
	}
	_ = append(scanned[0].Key, "far beyond its end"...)
	_ = append(scanned[0].Sealed, "far beyond its end"...)
	if string(scanned[1].Key) != "own" || string(scanned[1].Sealed) != "handed over" {
		h.Error("records share memory that appending reaches")
	}
}

func scanIsOrderedAndPaged(h *harness) {
	keys := []string{"a", "a\x00", "a\x00b", "aa", "ab", "ab\xff", "ac", "b", "\xff\xff"}
	txn := efs.Txn{}
	for _, k := range slices.Backward(keys) {
		txn.Mutations = append(txn.Mutations, put(entry(k), "of "+k))
	}
	h.commit(txn)
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          []string
	}{
		{"", "", 100, keys},
		{"", "", 3, keys[:3]},
		{"", "a\x00b", 2, keys[3:5]},
		{"a", "", 100, keys[:7]},
		{"ab", "", 100, []string{"ab", "ab\xff"}},
		{"ab", "a", 100, []string{"ab", "ab\xff"}},
		{"ab", "ab", 100, []string{"ab\xff"}},
		{"ab", "ab\xff", 100, nil},
		{"ab", "b", 100, nil},
		{"", "between", 100, []string{"\xff\xff"}},
		{"\xff", "", 100, []string{"\xff\xff"}},
		{"", "\xff\xff", 100, nil},
		{"zz", "", 100, nil},
		{"", "", 0, nil},
	} {
		var after []byte
		if c.after != "" {
			after = []byte(c.after)
		}
		records, err := h.x.Scan(h.Context(), efs.SpaceEntries, []byte(c.prefix), after, c.limit)
		h.ok(err)
		var got []string
		for _, r := range records {
			got = append(got, string(r.Key))
			if string(r.Sealed) != "of "+string(r.Key) || r.Version == 0 {
				h.Errorf("record %q has value %q and version %d", r.Key, r.Sealed, r.Version)
			}
		}
		if !slices.Equal(got, c.want) {
			h.Errorf("scan of %q after %q, limit %d: %q, want %q", c.prefix, c.after, c.limit, got, c.want)
		}
	}
}

func spacesAreApart(h *harness) {
	txn := efs.Txn{}
	for s := range efs.Spaces {
		txn.Mutations = append(txn.Mutations, put(key(efs.Space(s+1), "same"), fmt.Sprint(s)))
	}
	h.commit(txn)
	for s := range efs.Spaces {
		if got := h.value(key(efs.Space(s+1), "same")); got != fmt.Sprint(s) {
			h.Errorf("space %d holds the value of space %s", s, got)
		}
	}
}

func checksHoldOrNothingHappens(h *harness) {
	version := h.commit(puts(entry("there"), "1")).Revision
	before := h.get(entry("there"))
	head, err := h.x.Head(h.Context())
	h.ok(err)
	there, absent := entry("there"), entry("absent")
	for _, c := range []struct {
		check efs.Check
		holds bool
	}{
		{efs.Check{Kind: efs.CheckVersion, Key: there, Version: version}, true},
		{efs.Check{Kind: efs.CheckVersion, Key: there, Version: version + 1}, false},
		{efs.Check{Kind: efs.CheckVersion, Key: there}, false},
		{efs.Check{Kind: efs.CheckVersion, Key: absent}, true},
		{efs.Check{Kind: efs.CheckVersion, Key: absent, Version: version}, false},
		{efs.Check{Kind: efs.CheckPresent, Key: there}, true},
		{efs.Check{Kind: efs.CheckPresent, Key: absent}, false},
		{efs.Check{Kind: efs.CheckNoneUnder, Key: entry("the")}, false},
		{efs.Check{Kind: efs.CheckNoneUnder, Key: there}, false},
		{efs.Check{Kind: efs.CheckNoneUnder, Key: entry("there ")}, true},
		{efs.Check{Kind: efs.CheckNoneUnder, Key: entry("")}, false},
		{efs.Check{Kind: efs.CheckNoneUnder, Key: key(efs.SpacePlaces, "")}, true},
	} {
		account := efs.NewID()
		_, err := h.x.Commit(h.Context(), &efs.Txn{
			Checks:    []efs.Check{{Kind: efs.CheckPresent, Key: there}, c.check},
			Mutations: []efs.Mutation{put(entry("trace"), "1")},
			Changes:   change("trace"),
			Release:   []efs.Release{{Content: account}},
			Usage:     []efs.Delta{{Account: account, Files: 1}},
		})
		if c.holds {
			h.ok(err)
			h.commit(efs.Txn{Mutations: []efs.Mutation{{Key: entry("trace")}}})
			if head, err = h.x.Head(h.Context()); err != nil {
				h.Fatal(err)
			}
			continue
		}
		h.want(err, efs.ErrConflict)
		var ce *efs.CheckError
		if !errors.As(err, &ce) || ce.Check != 1 {
			h.Errorf("%+v: error %v does not name check 1", c.check, err)
		} else if bytes.Equal(c.check.Key.Bytes, there.Bytes) && ce.Version != version {
			h.Errorf("%+v: error tells version %d, not %d", c.check, ce.Version, version)
		}
		if now, err := h.x.Head(h.Context()); err != nil || now != head {
			h.Errorf("%+v: head moved from %+v to %+v (%v)", c.check, head, now, err)
		}
		if u, err := h.x.Usage(h.Context(), account); err != nil || u != (efs.Usage{}) {
			h.Errorf("%+v: usage %+v (%v) after a refused transaction", c.check, u, err)
		}
		if r := h.get(entry("trace"))[0]; r.Version != 0 {
			h.Errorf("%+v: a refused transaction left a record", c.check)
		}
	}
	if now := h.get(there); now[0].Version != before[0].Version {
		h.Error("a checked record changed its version")
	}
}

func checkNoneUnder(h *harness) {
	dir := entry("dir/")
	empty := efs.Check{Kind: efs.CheckNoneUnder, Key: dir}
	txn := efs.Txn{}
	for i := range 3000 { // several pages, which deleting leaves empty
		txn.Mutations = append(txn.Mutations, put(entry(fmt.Sprintf("dir/%05d", i)), strings.Repeat("v", 40)))
	}
	txn.Mutations = append(txn.Mutations, put(entry("after"), "1"), put(entry("e"), "1"))
	h.commit(txn)
	_, err := h.x.Commit(h.Context(), &efs.Txn{Checks: []efs.Check{empty}})
	h.want(err, efs.ErrConflict)
	for i := range txn.Mutations {
		txn.Mutations[i].Sealed = nil
	}
	h.commit(efs.Txn{Mutations: txn.Mutations[1:3000]})
	_, err = h.x.Commit(h.Context(), &efs.Txn{Checks: []efs.Check{empty}})
	h.want(err, efs.ErrConflict)
	h.commit(efs.Txn{Mutations: txn.Mutations[:1]})
	h.commit(efs.Txn{Checks: []efs.Check{empty}})
}

func versionsAreNeverUsedTwice(h *harness) {
	seen := map[uint64]bool{0: true}
	last := uint64(0)
	note := func(c efs.Committed) {
		h.Helper()
		if seen[c.Revision] || c.Revision < last {
			h.Fatalf("revision %d after %d", c.Revision, last)
		}
		seen[c.Revision], last = true, c.Revision
	}
	for i := range 20 {
		c := h.commit(efs.Txn{Mutations: []efs.Mutation{put(entry("x"), fmt.Sprint(i)), put(entry("y"), "1")}})
		note(c)
		for _, r := range h.get(entry("x"), entry("y")) {
			if r.Version != c.Revision {
				h.Errorf("record %s has version %d, committed as %d", r.Key, r.Version, c.Revision)
			}
		}
		_, err := h.x.Commit(h.Context(), &efs.Txn{Checks: []efs.Check{{Kind: efs.CheckPresent, Key: entry("none")}}})
		h.want(err, efs.ErrConflict)
		if i%5 == 4 {
			h.commit(efs.Txn{Mutations: []efs.Mutation{{Key: entry("x")}}})
			h.reopen()
		}
	}
}

func badTransactionsAreRefused(h *harness) {
	long := strings.Repeat("k", 1<<16)
	for name, txn := range map[string]efs.Txn{
		"no space":            puts(key(0, "k"), "v"),
		"unknown space":       puts(key(efs.Space(efs.Spaces+1), "k"), "v"),
		"empty key":           puts(entry(""), "v"),
		"overlong key":        puts(entry(long), "v"),
		"check in no space":   {Checks: []efs.Check{{Kind: efs.CheckPresent}}},
		"check of no kind":    {Checks: []efs.Check{{Key: entry("k")}}},
		"check of empty key":  {Checks: []efs.Check{{Kind: efs.CheckVersion, Key: entry("")}}},
		"check of other kind": {Checks: []efs.Check{{Kind: 77, Key: entry("k")}}},
	} {
		txn.Changes = change("must not be logged")
		_, err := h.x.Commit(h.Context(), &txn)
		if !errors.Is(err, efs.ErrBadInput) {
			h.Errorf("%s: error %v, want ErrBadInput", name, err)
		}
	}
	_, err := h.x.Get(h.Context(), key(0, "k"))
	h.want(err, efs.ErrBadInput)
	_, err = h.x.Scan(h.Context(), 0, nil, nil, 1)
	h.want(err, efs.ErrBadInput)
	if _, last := h.bounds(); last != 0 {
		h.Errorf("a refused transaction was logged")
	}
	h.commit(puts(entry("k"), "v"))
}

func largeTransactionsAreWhole(h *harness) {
	txn := efs.Txn{}
	for i := range 2500 {
		txn.Mutations = append(txn.Mutations, put(entry(fmt.Sprintf("%04d", i)), "v"))
		txn.Changes = append(txn.Changes, fmt.Appendf(nil, "change %d", i))
	}
	c := h.commit(txn)
	if c.Seq != 2500 {
		h.Errorf("seq %d, want 2500", c.Seq)
	}
	records, err := h.x.Scan(h.Context(), efs.SpaceEntries, nil, nil, 3000)
	h.ok(err)
	if len(records) != 2500 {
		h.Errorf("%d records of 2500", len(records))
	}
	for _, r := range records {
		if r.Version != c.Revision {
			h.Fatalf("record %s has version %d, not %d", r.Key, r.Version, c.Revision)
		}
	}
}

func largeValues(h *harness) {
	for _, n := range []int{0, 1, 4088, 4096, 16 << 10, 1<<20 + 1, 9 << 20} {
		v := bytes.Repeat([]byte{byte(n), 7, 9}, n/3+1)[:n]
		h.commit(efs.Txn{Mutations: []efs.Mutation{{Key: key(efs.SpaceInline, "big"), Sealed: v}}})
		if got := h.get(key(efs.SpaceInline, "big"))[0]; !bytes.Equal(got.Sealed, v) || got.Version == 0 {
			h.Errorf("value of %d bytes comes back with %d", n, len(got.Sealed))
		}
	}
}

func cancelledBeforeBeingTakenUp(h *harness) {
	ctx, cancel := context.WithCancel(h.Context())
	cancel()
	txn := puts(entry("k"), "v")
	_, err := h.x.Commit(ctx, &txn)
	h.want(err, context.Canceled)
	_, err = h.x.Get(ctx, entry("k"))
	h.want(err, context.Canceled)
	if r := h.get(entry("k"))[0]; r.Version != 0 {
		h.Error("a cancelled transaction was committed")
	}
}
