package mirror

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/syncstate"
	"github.com/efs-project/efs/internal/transfer"
	"github.com/efs-project/efs/test/kit"
)

// once runs, and is interrupted when so many bytes have travelled (0: not).
func once(t *testing.T, o Options, until int64) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var moved atomic.Int64
	o.Progress = func(n int64) {
		if moved.Add(n) >= until && until > 0 {
			cancel()
		}
	}
	o.Tell = func(ev Event) { t.Logf("%s %s %s %v", ev.Op, ev.Path, ev.Why, ev.Err) }
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err = m.Once(ctx); err == nil {
		if res := m.Result(); !res.Clean() {
			t.Fatalf("%+v", res)
		}
	}
	return err
}

// recordOf returns what the memory has of a path.
func recordOf(t *testing.T, o Options, path string) syncstate.Record {
	t.Helper()
	s, err := syncstate.Open(o.StateDir, o.Pair[0], o.Pair[1])
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Load(""); err != nil {
		t.Fatal(err)
	}
	if r := s.Get(path); r != nil {
		return *r
	}
	return syncstate.Record{}
}

// TestLargeFilesGoOnWhereTheyWereCutOff: an upload keeps its id and its parts,
// a download its file, over several runs.
func TestLargeFilesGoOnWhereTheyWereCutOff(t *testing.T) {
	const size = inParts + 13<<20
	dir, back, p := t.TempDir(), t.TempDir(), drive(t)
	want := kit.Pattern(7, size)
	if err := os.WriteFile(filepath.Join(dir, "large"), want, 0o640); err != nil {
		t.Fatal(err)
	}
	up := Options{From: transfer.Place{Path: dir}, To: p, Pair: [2]string{"a", p.Path}, StateDir: t.TempDir()}
	if err := once(t, up, 40<<20); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	first := recordOf(t, up, "large").Upload
	if first == nil || first.ID == "" {
		t.Fatal("the upload that was cut off is not remembered")
	}
	if err := once(t, up, 60<<20); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	if again := recordOf(t, up, "large").Upload; again == nil || again.ID != first.ID {
		t.Fatalf("the upload was not gone on with: %+v, before %+v", again, first)
	}
	if err := once(t, up, 0); err != nil {
		t.Fatal(err)
	}
	if r := recordOf(t, up, "large"); r.Upload != nil || r.Base == nil {
		t.Errorf("remembered of an upload that is done: %+v", r)
	}
	e, err := p.Client.Stat(t.Context(), p.Path+"/large")
	if err != nil || e.Size != size || e.Mode != 0o640 {
		t.Errorf("%+v, %v", e, err)
	}

	down := Options{From: p, To: transfer.Place{Path: back}, Pair: [2]string{"b", p.Path}, Backward: true, StateDir: up.StateDir}
	if err := once(t, down, 40<<20); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	part := filepath.Join(back, recordOf(t, down, "large").Part)
	begun, err := os.Stat(part)
	if err != nil || begun.Size() < 30<<20 || begun.Mode().Perm() != 0o600 {
		t.Fatalf("what has come so far: %v, %v", begun, err)
	}
	if err := once(t, down, 0); err != nil {
		t.Fatal(err)
	}
	whole, err := os.Stat(filepath.Join(back, "large"))
	if err != nil || !os.SameFile(begun, whole) || whole.Mode().Perm() != 0o640 {
		t.Errorf("the download was not gone on with: %v, %v", whole, err)
	}
	if b, err := os.ReadFile(filepath.Join(back, "large")); err != nil || !bytes.Equal(b, want) {
		t.Errorf("%d bytes came back, %v", len(b), err)
	}

	// What is no longer wanted does not stay behind.
	if err := os.WriteFile(filepath.Join(dir, "large"), kit.Pattern(8, size), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := once(t, up, 20<<20); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	first = recordOf(t, up, "large").Upload
	if err := os.WriteFile(filepath.Join(dir, "large"), kit.Pattern(9, size), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := once(t, up, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.Client.AbortUpload(t.Context(), first.ID); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("the upload of what is no more: %v", err)
	}
	if err := once(t, down, 40<<20); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	part = filepath.Join(back, recordOf(t, down, "large").Part)
	if err := p.Client.Remove(t.Context(), p.Path+"/large", client.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(back, "large")); err != nil {
		t.Fatal(err)
	}
	if err := once(t, down, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(part); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a part of a file that is gone: %v", err)
	}
}
