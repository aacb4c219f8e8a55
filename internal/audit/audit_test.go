package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

func TestEventsAreLinesInOrder(t *testing.T) {
	w := newWorld(t)
	id := efs.NewID()
	must(t, w.log.Commit(context.Background(), Event{Op: "file.store", User: "alice", FS: "docs", From: "192.0.2.1:1", Method: "PUT", Object: id, Name: []byte("sealed"), Session: "s", Request: "r"}))
	w.log.Record(Event{Op: "file.read", User: "bob", FS: "docs", Outcome: "not-found"})
	must(t, w.log.Close())
	lines := split(w.text1())
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), w.text1())
	}
	l, err := parse(lines[0])
	must(t, err)
	if l.Seq != 1 || l.User != "alice" || l.Object != id || string(l.Name) != "sealed" || l.Outcome != Ok || l.Session != "s" || l.Request != "r" || l.Method != "PUT" {
		t.Errorf("%+v", l)
	}
	if l, err = parse(lines[1]); err != nil || l.Seq != 2 || l.Outcome != "not-found" {
		t.Errorf("%+v, %v", l, err)
	}
	r := w.good()
	if r.Head != 3 || r.Lines != 3 || r.Beyond != 0 || !r.MACs {
		t.Errorf("%+v", r)
	}
}

func TestNoValueBreaksALine(t *testing.T) {
	hostile := "a\"\\\n\r\x00\x1b[31m\u2028\u202e\xff é 😀" + strings.Repeat("x", 5000)
	e := Event{Op: hostile, User: hostile, FS: hostile, From: hostile, Method: hostile, Outcome: hostile, Detail: hostile, Session: hostile, Request: hostile}
	b := append(e.appendBody([]byte("{")), '}')
	if !json.Valid(b) || len(b) > maxLine/2 {
		t.Fatalf("%d bytes: %s", len(b), b)
	}
	for _, c := range b {
		if c < ' ' || c > '~' {
			t.Fatalf("byte %#x in %s", c, b)
		}
	}
	var back struct{ User string }
	must(t, json.Unmarshal(b, &back))
	if !strings.HasPrefix(back.User, "a\"\\\n\r\x00\x1b[31m\u2028\u202e\ufffd é 😀x") || !strings.HasSuffix(back.User, "...") {
		t.Errorf("%q", back.User)
	}
}

func TestTimesAreThoseOfPackageTime(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Now(), time.Date(2026, 1, 2, 3, 4, 5, 999999999, time.FixedZone("", 7200)), time.Date(9999, 12, 31, 23, 59, 59, 1000, time.UTC)} {
		if got, want := string(appendTime(nil, at)), at.UTC().Format(timeLayout); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestTheChainGoesOnAfterAStart(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.store(3)
		w.reopen()
	}
	must(t, w.log.Close())
	if r := w.good(); r.Lines != 20 || r.Last != 20 {
		t.Errorf("%+v", r)
	}
}

// TestAKilledServerGoesOn copies the files of a log under way, as kill -9
// leaves them, and opens the copy.
func TestAKilledServerGoesOn(t *testing.T) {
	w := newWorld(t)
	w.store(7)
	must(t, w.log.Checkpoint(context.Background()))
	w.store(5)
	before, state := w.text1(), w.secret(secretState)
	must(t, w.log.Close())
	w.replace(before)
	must(t, w.box.Put(secretState, state))
	w.open()
	w.store(1)
	must(t, w.log.Close())
	r := w.good()
	// 7 and a head; 5 more; 1 and the head of the end.
	if r.Lines != 15 || len(r.Torn) != 0 || r.Head != 15 {
		t.Errorf("%+v\n%s", r, w.text1())
	}
}

func TestATornLineIsCutAndTold(t *testing.T) {
	w := newWorld(t)
	w.store(4)
	whole := w.text1()
	must(t, w.log.Close())
	for _, torn := range []string{`{"v":1,"seq":5,"time":"2026-`, "\x00\x00\x00\x00", "x\n\x00\x00\n"} {
		w.replace(append(bytes.Clone(whole), torn...))
		must(t, w.box.Delete(secretState)) // as it was then
		w.open()
		w.store(1)
		must(t, w.log.Close())
		r := w.good()
		if len(r.Torn) != 1 || r.Lines != 7 {
			t.Errorf("%q: %+v\n%s", torn, r, w.text1())
			continue
		}
		contains(t, r.Torn[0], fmt.Sprintf("%d bytes after line 4", len(torn)))
		aside, err := os.ReadDir(w.dir)
		must(t, err)
		i := slices.IndexFunc(aside, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "torn-") })
		if i < 0 {
			t.Fatal("what was cut was not kept")
		}
		kept, err := os.ReadFile(w.dir + "/" + aside[i].Name())
		must(t, err)
		if string(kept) != torn {
			t.Errorf("kept %q of %q", kept, torn)
		}
		must(t, os.Remove(w.dir+"/"+aside[i].Name()))
	}
}

func TestRotatedFilesAreOneChain(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxSize = 2000 })
	w.store(30)
	w.reopen()
	w.store(30)
	must(t, w.log.Close())
	if n := len(w.files()); n < 8 {
		t.Errorf("%d files", n)
	}
	if r := w.good(); r.Files != len(w.files()) || r.Lines < 60 {
		t.Errorf("%+v", r)
	}
	must(t, os.Remove(w.files()[3]))
	if r := w.verify(); r.Bad == nil {
		t.Error("a file is missing and that was not noticed")
	}
}

func TestWhatIsLeftAfterRetentionVerifies(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxSize, o.KeepSize = 2000, 6000 })
	for range 20 {
		w.store(5)
		must(t, w.log.Checkpoint(context.Background()))
		w.log.retain()
	}
	must(t, w.log.Close())
	r := w.good()
	if r.First == 1 || len(w.files()) > 6 {
		t.Errorf("nothing was removed: %+v, %d files", r, len(w.files()))
	}
	must(t, os.Remove(w.files()[0]))
	if r := w.verify(); r.Bad == nil {
		t.Error("a file removed by hand was not noticed")
	} else {
		contains(t, r.Bad.Why, "no signed line says")
	}
}

func TestManyAtOnceShareSyncs(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 50 {
				if err := w.log.Commit(context.Background(), Event{Op: "file.store", User: "a"}); err != nil {
					t.Error(err)
				}
				w.log.Record(Event{Op: "file.read", User: "a"})
			}
		})
	}
	wg.Wait()
	must(t, w.log.Close())
	r := w.good()
	if r.Lines < 3200 {
		t.Errorf("%+v", r)
	}
	if s := w.log.Stats(); s.Syncs > 1700 || s.Events != uint64(r.Lines) {
		t.Errorf("%+v", s)
	}
}

func TestUnknownCallersCannotFloodTheLog(t *testing.T) {
	w := newWorld(t)
	for range 3 * strangerBurst {
		w.log.Record(Event{Op: "auth.session", From: "203.0.113.9:1", Outcome: "certificate-required"})
	}
	w.store(1)
	must(t, w.log.Close())
	r := w.good()
	if r.Lines > 2*strangerBurst {
		t.Errorf("%d lines", r.Lines)
	}
	contains(t, string(w.text1()), "audit.suppressed")
}

// fault makes files that fail when told.
type fault struct {
	mu    sync.Mutex
	space int64 // bytes that may still be allocated; <0: no bound
	sync  error
}

type faulty struct {
	file
	f   *fault
	end int64 // allocated
}

func (f *fault) open(path string) (file, error) {
	real, err := openFile(path)
	return &faulty{file: real, f: f}, err
}

func (f *faulty) take(end int64) error {
	f.f.mu.Lock()
	defer f.f.mu.Unlock()
	if n := end - f.end; n > 0 && f.f.space >= 0 {
		if n > f.f.space {
			return syscall.ENOSPC
		}
		f.f.space -= n
	}
	f.end = max(f.end, end)
	return nil
}

func (f *faulty) WriteAt(b []byte, off int64) (int, error) {
	if err := f.take(off + int64(len(b))); err != nil {
		return 0, err
	}
	return f.file.WriteAt(b, off)
}

func (f *faulty) Reserve(off, n int64) error { return f.take(off + n) }

func (f *faulty) Sync() error {
	f.f.mu.Lock()
	defer f.f.mu.Unlock()
	if f.f.sync != nil {
		return f.f.sync
	}
	return f.file.Sync()
}

func (f *fault) set(space int64, sync error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.space, f.sync = space, sync
}

func TestOnAFullVolumeDeletionsAreStillRecorded(t *testing.T) {
	f := &fault{space: 6000}
	w := newWorld(t, func(o *Options) { o.open, o.Reserve = f.open, 4000 })
	for i := 0; w.log.Err() == nil; i++ {
		if i > 100 {
			t.Fatal("the volume never filled up")
		}
		must(t, w.log.Commit(context.Background(), Event{Op: "file.store", User: "a"}))
	}
	if !errors.Is(w.log.Err(), ErrUnavailable) || !errors.Is(w.log.Err(), efs.ErrNoSpace) {
		t.Error(w.log.Err())
	}
	w.log.Record(Event{Op: "file.read", User: "a"})
	for range 5 {
		must(t, w.log.Admit(true))
		must(t, w.log.Commit(context.Background(), Event{Op: "file.delete", User: "a"}))
	}
	f.set(1<<20, nil)
	must(t, w.log.Sync(context.Background()))
	must(t, w.log.Commit(context.Background(), Event{Op: "file.delete", User: "a"}))
	must(t, w.log.Err())
	must(t, w.log.Close())
	w.good()
	contains(t, string(w.text1()), "1 events could not be recorded")
}

func TestLinesThatFoundNoRoomAreWrittenLater(t *testing.T) {
	f := &fault{space: 3000}
	w := newWorld(t, func(o *Options) { o.open, o.Reserve = f.open, 1000 })
	failed := 0
	for range 20 {
		if err := w.log.Commit(context.Background(), Event{Op: "file.delete", User: "a"}); err != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Fatal("the volume never filled up")
	}
	f.set(-1, nil)
	must(t, w.log.Sync(context.Background()))
	must(t, w.log.Err())
	must(t, w.log.Close())
	w.good()
	if n := bytes.Count(w.text1(), []byte("file.delete")); n != 20 {
		t.Errorf("%d lines of 20:\n%s", n, w.text1())
	}
}

func TestAFailedSyncIsFinal(t *testing.T) {
	f := &fault{space: -1}
	w := newWorld(t, func(o *Options) { o.open = f.open })
	w.store(3)
	f.set(-1, syscall.EIO)
	if err := w.log.Commit(context.Background(), Event{Op: "file.store", User: "a"}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	f.set(-1, nil)
	if err := w.log.Commit(context.Background(), Event{Op: "file.store", User: "a"}); !errors.Is(err, efs.ErrUnavailable) {
		t.Error(err)
	}
	if w.log.Admit(true) == nil {
		t.Error("deletions are admitted")
	}
	if w.log.Close() == nil {
		t.Error("closing tells nothing")
	}
	w.open()
	w.store(1)
	must(t, w.log.Close())
	w.good()
}
