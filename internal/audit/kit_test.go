package audit

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/starter"
)

// world is a server's box and a log in it.
type world struct {
	t    *testing.T
	root string
	dir  string // of the log
	text string // starter key
	box  *starter.Box
	o    Options
	log  *Log
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, root: t.TempDir()}
	w.dir = filepath.Join(w.root, "audit")
	text, key, err := starter.Generate()
	must(t, err)
	w.text = string(text)
	w.box, err = starter.CreateBox(filepath.Join(w.root, ".server"), key, nil)
	must(t, err)
	t.Cleanup(w.box.Close)
	w.o = Options{Dir: w.dir, HeadEvery: time.Hour, Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&w.o)
	}
	w.open()
	t.Cleanup(func() { w.log.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.log, err = Open(w.box, w.o)
	must(w.t, err)
}

func (w *world) reopen() {
	w.t.Helper()
	must(w.t, w.log.Close())
	w.open()
}

// store commits n events.
func (w *world) store(n int) {
	w.t.Helper()
	for range n {
		must(w.t, w.log.Commit(context.Background(), Event{Op: "file.store", User: "alice", FS: "docs", From: "192.0.2.1:4711", Method: "PUT", Request: "r-1"}))
	}
}

// verify verifies the files as they lie, with the keys in the box.
func (w *world) verify(change ...func(*Check)) *Report {
	w.t.Helper()
	c, err := BoxCheck(w.box, w.dir)
	must(w.t, err)
	for _, f := range change {
		f(&c)
	}
	r, err := Verify(c)
	must(w.t, err)
	return r
}

func (w *world) good(change ...func(*Check)) *Report {
	w.t.Helper()
	r := w.verify(change...)
	if r.Bad != nil {
		w.t.Fatalf("the log does not verify: %+v", *r.Bad)
	}
	return r
}

func (w *world) files() []string {
	w.t.Helper()
	all, err := segments(w.dir)
	must(w.t, err)
	var out []string
	for _, s := range all {
		out = append(out, s.path)
	}
	return out
}

func (w *world) text1() []byte {
	w.t.Helper()
	b, err := os.ReadFile(w.files()[0])
	must(w.t, err)
	return b
}

func (w *world) secret(name string) []byte {
	w.t.Helper()
	b, err := w.box.Get(name)
	must(w.t, err)
	return b
}

func (w *world) replace(b []byte) {
	w.t.Helper()
	must(w.t, os.WriteFile(w.files()[0], b, 0o600))
}

func split(b []byte) [][]byte {
	return bytes.SplitAfter(b, []byte("\n"))[:bytes.Count(b, []byte("\n"))]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func contains(t *testing.T, s, part string) {
	t.Helper()
	if !strings.Contains(s, part) {
		t.Errorf("%q does not contain %q", s, part)
	}
}
