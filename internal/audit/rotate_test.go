package audit

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A file that could not be begun leaves nothing behind that would later look
// like a file with its lines missing.
func TestAFullVolumeWhenAFileIsDueLeavesAWholeLog(t *testing.T) {
	f := &fault{space: -1}
	w := newWorld(t, func(o *Options) { o.MaxSize, o.Reserve, o.open = 1000, 400, f.open })
	w.store(4) // a new file is due
	f.set(0, nil)
	for range 3 { // the volume is full: what fits goes into the old one
		_ = w.log.Commit(t.Context(), Event{Op: "file.delete", User: "alice"})
	}
	f.set(-1, nil)
	_ = w.log.Sync(t.Context())
	w.store(3)
	w.reopen()
	w.store(3)
	must(t, w.log.Close())
	w.good()
	for _, path := range w.files() {
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

// When a file ended stands in the log. What the volume says of it can be set
// by whoever writes the volume, who would have the server itself remove, and
// sign, what is to be hidden.
func TestTheAgeOfAFileIsNotThatOfTheVolume(t *testing.T) {
	var later atomic.Int64 // the log's own goroutine asks for the time
	clock := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	w := newWorld(t, func(o *Options) {
		o.MaxSize, o.KeepAge, o.Clock = 1000, 24*time.Hour, clock
	})
	w.store(12)
	before := w.files()
	if len(before) < 4 {
		t.Fatal(before)
	}
	for _, path := range before {
		must(t, os.Chtimes(path, clock().AddDate(-1, 0, 0), clock().AddDate(-1, 0, 0)))
	}
	w.log.retain()
	if left := w.files(); len(left) != len(before) {
		t.Errorf("%d files of %d are left", len(left), len(before))
	}
	later.Store(int64(25 * time.Hour))
	for _, path := range before {
		must(t, os.Chtimes(path, clock(), clock()))
	}
	w.log.retain()
	if left := w.files(); len(left) != 2 {
		t.Errorf("%d files are left of what is too old", len(left))
	}
	must(t, w.log.Close())
	w.good()
}

// Lines that go to a file which is no longer there are no lines: nothing is
// confirmed on their strength.
func TestALogThatIsTakenAwayIsNoticed(t *testing.T) {
	for name, take := range map[string]func(w *world) error{
		"removed":   func(w *world) error { return os.RemoveAll(w.dir) },
		"moved":     func(w *world) error { return os.Rename(w.files()[0], w.files()[0]+".old") },
		"exchanged": func(w *world) error { return os.WriteFile(w.files()[0]+".new", w.text1(), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.store(3)
			must(t, take(w))
			if name == "exchanged" {
				must(t, os.Rename(w.files()[0]+".new", w.files()[0]))
			}
			must(t, w.log.Err())
			if err := w.log.Checkpoint(context.Background()); err == nil {
				t.Error("a head was signed of what is not there")
			}
			if w.log.Err() == nil {
				t.Error("changes go on")
			}
		})
	}
}

// A pipe in the place of a file would be waited on for ever.
func TestAPipeIsNoFileOfTheLog(t *testing.T) {
	w := newWorld(t)
	w.store(3)
	must(t, w.log.Close())
	must(t, unix.Mkfifo(filepath.Join(w.dir, filepath.Base(segmentPath("", 99))), 0o600))
	w.open()
	w.store(1)
	must(t, w.log.Close())
	w.good()
	must(t, os.Remove(w.files()[0]))
	must(t, unix.Mkfifo(segmentPath(w.dir, 1), 0o600))
	w.open()
	w.store(1)
	must(t, w.log.Close())
	if w.verify().Bad == nil {
		t.Error("the missing file was not noticed")
	}
}
