package syncstate

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"testing"

	"pgregory.net/rapid"
)

func open(t interface{ Fatal(...any) }, dir string) *State {
	s, err := Open(dir, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(""); err != nil {
		t.Fatal(err)
	}
	return s
}

func size(n int64) func(*Record) {
	return func(r *Record) { r.Base = &Base{Kind: 1, Size: n, Digest: bytes.Repeat([]byte{7}, 32)} }
}

func TestAStateRemembers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if s.Known() {
		t.Error("a new state knows a run")
	}
	if _, err := Open(dir, "a", "b"); !errors.Is(err, ErrBusy) {
		t.Errorf("opened twice: %v", err)
	}
	s.Update("x", size(1))
	s.Update("y", size(2))
	s.Update("y", func(r *Record) { r.Base = nil })
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if !s.Known() || s.Get("x") == nil || s.Get("x").Base.Size != 1 || s.Get("y") != nil {
		t.Errorf("remembered: %v %+v %+v", s.Known(), s.Get("x"), s.Get("y"))
	}
	fi, err := os.Stat(s.path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", fi.Mode(), err)
	}
}

// TestWhateverACrashLeavesIsAStateOfBefore cuts the file anywhere: what is
// read is what one of the flushes wrote.
func TestWhateverACrashLeavesIsAStateOfBefore(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		s := open(t, dir)
		want := []map[string]int64{{}}
		now := map[string]int64{}
		for range rapid.IntRange(1, 6).Draw(t, "flushes") {
			for range rapid.IntRange(1, 3).Draw(t, "updates") {
				p, n := fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "path")), rapid.Int64Range(0, 9).Draw(t, "size")
				if n == 0 {
					s.Update(p, func(r *Record) { r.Base = nil })
					delete(now, p)
				} else {
					s.Update(p, size(n))
					now[p] = n
				}
			}
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			have := map[string]int64{}
			for p, n := range now {
				have[p] = n
			}
			want = append(want, have)
		}
		fi, err := s.file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.file.Truncate(rapid.Int64Range(0, fi.Size()).Draw(t, "left")); err != nil {
			t.Fatal(err)
		}
		path := s.path
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir)
		defer os.Remove(path)
		defer s.Close()
		for _, w := range want {
			if s.Len() != len(w) {
				continue
			}
			all := true
			for p, n := range w {
				all = all && s.Get(p) != nil && s.Get(p).Base.Size == n
			}
			if all {
				return
			}
		}
		t.Fatalf("read back %d paths that were never a state", s.Len())
	})
}

func TestAStateThatWasMuchChangedIsWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for n := range 3000 {
		s.Update(fmt.Sprint(n%10), size(int64(n)))
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	if s.written > 20 {
		t.Errorf("%d records in the file for 10 paths", s.written)
	}
	if _, err := Open(dir, "a", "b"); !errors.Is(err, ErrBusy) {
		t.Errorf("the new file can be opened twice: %v", err)
	}
	s.Update("more", size(1))
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s = open(t, dir)
	defer s.Close()
	if s.Len() != 11 || !s.Known() || s.Get("3").Base.Size != 2993 {
		t.Errorf("read back: %d paths", s.Len())
	}
}

func TestADigestHoldsWhileTheFileIsUntouched(t *testing.T) {
	st := Stat{Size: 1, Modified: 10e9, Changed: 11e9, Inode: 5}
	r := &Read{Stat: st, At: 20e9, Digest: make([]byte, sha256.Size)}
	if !r.Holds(st) {
		t.Error("an untouched file is read again")
	}
	for _, touched := range []Stat{{Size: 2, Modified: 10e9, Changed: 11e9, Inode: 5}, {Size: 1, Modified: 10e9, Changed: 12e9, Inode: 5}, {Size: 1, Modified: 10e9, Changed: 11e9, Inode: 6}} {
		if r.Holds(touched) {
			t.Errorf("%+v is taken for untouched", touched)
		}
	}
	r.At = 12e9
	if r.Holds(st) {
		t.Error("read within two seconds of its change, and trusted")
	}
}

// TestEveryVersionOpens reads an example of each version of the file's form.
func TestEveryVersionOpens(t *testing.T) {
	example, err := os.ReadFile("testdata/v1.state")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := open(t, dir)
	path := s.path
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, example, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if !s.Known() || s.Len() != 3 || s.Get("gone") != nil {
		t.Fatalf("known %v, %d paths", s.Known(), s.Len())
	}
	st := Stat{Size: 5, Modified: 10e9, Changed: 11e9, Inode: 12}
	if f := s.Get("dir/file"); f.Base.Size != 5 || f.Base.Kind != 1 || f.Base.B != "etag" || len(f.Base.Digest) != 32 || !f.Read.Holds(st) {
		t.Errorf("dir/file: %+v", f)
	}
	if l := s.Get("link"); l.Base.Target != "dir/file" || l.Base.B != "other" {
		t.Errorf("link: %+v", l)
	}
	if l := s.Get("large"); l.Upload.ID != "id" || l.Upload.Stat.Inode != 3 || l.Part != ".efs-part-x" {
		t.Errorf("large: %+v", l)
	}
}

// TestANewerVersionIsRefused: it is neither read nor cut off.
func TestANewerVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	h, err := encoding.Marshal(header{Version: version + 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.file.Truncate(0), s.Close()); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := writeFrame(&b, h); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	newer, err := Open(dir, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	defer newer.Close()
	if err := newer.Load(""); !errors.Is(err, errNewer) {
		t.Errorf("a newer file: %v", err)
	}
	if left, err := os.ReadFile(s.path); err != nil || !bytes.Equal(left, b.Bytes()) {
		t.Errorf("it was changed: %d bytes, %v", len(left), err)
	}
}

// A damaged state has not forgotten that there was a last time: else everything
// that is not remembered any more would be deleted or overwritten.
func TestADamagedStateIsNoFirstTime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for i := range 3000 {
		s.Update(fmt.Sprint(i), size(1))
	}
	path := s.path
	if err := errors.Join(s.Finish(), s.Close()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 3, 9, 40, 200, len(whole) / 2, len(whole) - 1} {
		b := bytes.Clone(whole)
		b[at] ^= 0xff
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // looking at it alone must not make it forget either
			s := open(t, dir)
			if !s.Known() {
				t.Errorf("damaged at %d it knows of no run", at)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What was remembered of trees is not taken for what is remembered of others
// that have come to have their names; and a file from before ids were kept serves
// on.
func TestAStateIsOfWhatItWasMadeOf(t *testing.T) {
	dir := t.TempDir()
	for _, step := range []struct {
		id    string
		knows bool // of x
	}{
		{"", false}, {"one", true}, {"one", true}, {"", true}, {"two", false}, {"two", true}, {"one", false},
	} {
		s, err := Open(dir, "a", "b")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Load(step.id); err != nil {
			t.Fatal(err)
		}
		first := step == struct {
			id    string
			knows bool
		}{"", false}
		if has := s.Get("x") != nil; has != step.knows || s.Known() == first {
			t.Errorf("as %q: remembers %v, a run before %v", step.id, has, s.Known())
		}
		s.Update("x", size(1))
		if err := errors.Join(s.Finish(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// Where nothing is remembered, no file stays behind; one that was not read does.
func TestAStateThatTellsNothingLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	files := func() int {
		found, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	s, err := Open(dir, "a", "b")
	if err == nil {
		err = s.Close()
	}
	if err != nil || files() != 0 {
		t.Errorf("not read: %d files, %v", files(), err)
	}
	if err := open(t, dir).Close(); err != nil || files() != 0 {
		t.Errorf("read: %d files, %v", files(), err)
	}
	s = open(t, dir)
	if err := errors.Join(s.Finish(), s.Close()); err != nil || files() != 1 {
		t.Errorf("after a run: %d files, %v", files(), err)
	}
	for range 2 {
		if s, err = Open(dir, "a", "b"); err == nil {
			err = s.Close()
		}
		if err != nil || files() != 1 {
			t.Errorf("%d files, %v", files(), err)
		}
	}
}
