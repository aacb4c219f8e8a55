package fsys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

func TestTheChangeLogTellsWhatHappened(t *testing.T) {
	e := newEnv(t)
	e.put("a/f", data(1, inlineSize))
	e.put("a/f", data(2, inlineSize))
	typ := "text/plain"
	_, err := e.Patch(ctx, "a/f", PatchOptions{Who: Who{User: "app1"}, Type: &typ})
	e.check(err)
	_, err = e.Move(ctx, "a/f", "b/g", MoveOptions{})
	e.check(err)
	e.check(e.Remove(ctx, "b/g", RemoveOptions{}))
	e.check(e.Remove(ctx, "b", RemoveOptions{Recursive: true}))
	e.check(e.AccessCommit(ctx, []efs.AccessMutation{{Kind: "user", Name: "app1", Value: []byte("x")}}))
	changes, err := e.Changes(ctx, 0, 100)
	e.check(err)
	var got []string
	for i, c := range changes {
		if c.Seq != uint64(i+1) || c.Time == 0 {
			t.Errorf("change %+v", c)
		}
		got = append(got, fmt.Sprintf("%s %s %s %v %v", c.Op, c.Path, c.From, c.Before != nil, c.After != nil))
	}
	want := []string{
		"create a  false true", "create a/f  false true", "replace a/f  true true", "patch a/f  true true",
		"create b  false true", "move b/g a/f true true", "delete b/g  true false", "delete-tree b  true false",
		"access user/app1  false false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("changes %q\nwant %q", got, want)
	}
	if c := changes[3]; c.User != "app1" || c.After.Type != typ || c.Before.Type != "" || c.Dir.IsZero() {
		t.Errorf("patch %+v", c)
	}
	rest, err := e.Changes(ctx, 7, 1)
	if err != nil || len(rest) != 1 || rest[0].Seq != 8 {
		t.Errorf("change after 7: %+v, %v", rest, err)
	}
}

func TestWaitForAChange(t *testing.T) {
	e := newEnv(t)
	h, err := e.Head(ctx)
	e.check(err)
	done := make(chan error, 1)
	go func() { done <- e.Wait(ctx, h.Seq) }()
	e.put("f", nil)
	e.check(<-done)
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	e.refused("nothing new", e.Wait(short, h.Seq+1), context.DeadlineExceeded)
	fs := e.FS
	go func() { done <- fs.Wait(ctx, h.Seq+1) }()
	time.Sleep(10 * time.Millisecond)
	e.close()
	e.refused("closed", <-done, efs.ErrStopped)
	_, err = fs.Stat(ctx, "f")
	e.refused("use after close", err, efs.ErrStopped)
}

func TestTheLogIsTrimmedAtItsLimit(t *testing.T) {
	e := newEnv(t, func(e *env) { e.wrap = func(o *Options) { o.LogLimit = 10 } })
	for i := range 30 {
		e.put(fmt.Sprintf("f%d", i), nil)
		if i == 14 {
			e.check(e.o.Index.SetMark(ctx, efs.Mark{Kind: efs.MarkFollower, Name: "agent", Seq: 12}))
		}
	}
	e.check(e.trim(ctx))
	_, err := e.Changes(ctx, 11, 1)
	e.refused("before the start", err, efs.ErrLogTruncated)
	if c, err := e.Changes(ctx, 12, 100); err != nil || len(c) != 18 {
		t.Errorf("%d changes for the follower, %v", len(c), err)
	}
	e.clean()
	e.check(e.o.Index.DropMark(ctx, efs.MarkFollower, "agent"))
	e.check(e.trim(ctx))
	if first, last, err := e.o.Index.LogBounds(ctx); err != nil || first != 21 || last != 30 {
		t.Errorf("log from %d to %d, %v", first, last, err)
	}
	e.reopen()
	e.clean()
}

func TestAccessRecords(t *testing.T) {
	e := newEnv(t)
	commit := func(m ...efs.AccessMutation) error { return e.AccessCommit(ctx, m) }
	e.check(commit(
		efs.AccessMutation{Kind: "user", Name: "b", Value: []byte("2")},
		efs.AccessMutation{Kind: "user", Name: "a", Value: []byte("1")},
		efs.AccessMutation{Kind: "ca", Name: "a", Value: []byte("3")}))
	e.refused("absent is expected", commit(
		efs.AccessMutation{Kind: "user", Name: "c", Value: []byte("4")},
		efs.AccessMutation{Kind: "user", Name: "a", Value: []byte("4")}), efs.ErrConflict)
	_, _, err := e.AccessGet(ctx, "user", "c")
	e.refused("all or none", err, efs.ErrNotFound)
	value, version, err := e.AccessGet(ctx, "user", "a")
	if err != nil || string(value) != "1" || version == 0 {
		t.Errorf("user a: %q, %d, %v", value, version, err)
	}
	e.check(commit(efs.AccessMutation{Kind: "user", Name: "a", Value: []byte("5"), Version: version}))
	e.refused("old version", commit(efs.AccessMutation{Kind: "user", Name: "a", Version: version}), efs.ErrConflict)
	names := func(after string, limit int) (got []string) {
		recs, err := e.AccessList(ctx, "user", after, limit)
		e.check(err)
		for _, r := range recs {
			got = append(got, r.Name+string(r.Value))
		}
		return got
	}
	if got := names("", 0); !slices.Equal(got, []string{"a5", "b2"}) {
		t.Errorf("users %q", got)
	}
	if got := names("", 1); !slices.Equal(got, []string{"a5"}) {
		t.Errorf("first user %q", got)
	}
	if got := names("a", 5); !slices.Equal(got, []string{"b2"}) {
		t.Errorf("users after a %q", got)
	}
	h, err := e.Head(ctx)
	e.check(err)
	if a, ok, err := e.ring.Anchor(e.id); err != nil || !ok || a.Seq != h.Seq || a.Link != h.Link {
		t.Errorf("the anchor %+v, %v is not the head %+v: %v", a, ok, h, err)
	}
	_, version, err = e.AccessGet(ctx, "user", "a")
	e.check(err)
	e.check(commit(efs.AccessMutation{Kind: "user", Name: "a", Version: version}))
	e.reopen()
	if got := names("", 0); !slices.Equal(got, []string{"b2"}) {
		t.Errorf("users %q", got)
	}
}

// copyFile copies a file of a closed file system.
func (e *env) copyFile(from, to string) {
	e.t.Helper()
	b, err := os.ReadFile(e.path(from))
	e.check(err)
	e.check(os.WriteFile(e.path(to), b, 0o600))
}

func TestAnOlderIndexIsRefused(t *testing.T) {
	e := newEnv(t)
	e.put("f", data(1, inlineSize))
	e.close()
	e.copyFile("index.db", "old.db")
	e.check(e.tryOpen())
	e.put("g", nil)
	e.close()
	e.copyFile("index.db", "new.db")
	e.copyFile("old.db", "index.db")
	e.refused("older index", e.tryOpen(), efs.ErrRolledBack)
	accept := func(o *Options) { o.AcceptRollback = true }
	e.check(e.tryOpen(accept))
	e.holds("f", data(1, inlineSize))
	e.missing("g")
	e.put("h", nil)
	e.put("i", nil)
	e.reopen() // accepted once is accepted
	e.close()
	e.copyFile("index.db", "fork.db")
	e.copyFile("new.db", "index.db")
	e.refused("index of another history", e.tryOpen(), efs.ErrRolledBack)
	e.copyFile("fork.db", "index.db")
	e.reopen()
	e.holds("f", data(1, inlineSize))
}

func TestAnIndexAheadOfItsAnchorMustGoOnFromIt(t *testing.T) {
	e := newEnv(t)
	e.put("f", nil)
	e.close()
	e.copyFile("index.db", "base.db")
	e.check(e.tryOpen())
	e.put("g", nil)
	e.close() // anchored with g
	e.copyFile("base.db", "index.db")
	e.check(e.tryOpen(func(o *Options) { o.Anchor = nil }))
	for i := range 5 {
		e.put(fmt.Sprint("other", i), nil)
	}
	e.close()
	err := e.tryOpen()
	e.refused("longer index of another history", err, efs.ErrRolledBack)
}

func TestNoAnchorIsNotTaken(t *testing.T) {
	e := newEnv(t)
	e.close()
	err := e.tryOpen(func(o *Options) { o.Anchor = noAnchor{} })
	e.refused("no anchor", err, efs.ErrRolledBack)
	err = e.tryOpen(func(o *Options) { o.Anchor = noAnchor{efs.ErrUnavailable} })
	e.refused("anchor out of reach", err, efs.ErrUnavailable)
}

type noAnchor struct{ err error }

func (a noAnchor) Anchor(efs.ID) (efs.Head, bool, error)       { return efs.Head{}, false, a.err }
func (a noAnchor) SetAnchor(context.Context, efs.Head) error   { return errors.New("unexpected") }
func (a noAnchor) ResetAnchor(context.Context, efs.Head) error { return errors.New("unexpected") }
func (a noAnchor) AnchorAccess(context.Context, efs.ID, uint64) error {
	return errors.New("unexpected")
}
