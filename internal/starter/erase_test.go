package starter

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// sealedFiles returns what lies in the directory of sealed secrets.
func sealedFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, sealedDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// The blocks of a file that Replace replaced hold zeros.
func TestReplaceOverwrites(t *testing.T) {
	b, dir := newBox(t)
	if err := b.Replace("keys", []byte("first")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, sealedDir, "keys.sealed")
	link := filepath.Join(dir, "link") // reaches the file that is replaced
	if err := os.Link(path, link); err != nil {
		t.Fatal(err)
	}
	if err := b.Replace("keys", []byte("second")); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(link)
	if err != nil || len(old) == 0 || !bytes.Equal(old, make([]byte, len(old))) {
		t.Errorf("the replaced file holds %x, %v", old, err)
	}
	if got, err := b.Get("keys"); err != nil || string(got) != "second" {
		t.Errorf("%q, %v", got, err)
	}
	if names := sealedFiles(t, dir); len(names) != 1 {
		t.Errorf("beside the secret there is something left: %q", names)
	}
}

// A failed Replace leaves the old value, readable.
func TestFailedReplace(t *testing.T) {
	b, dir := newBox(t)
	if err := b.Replace("keys", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := b.Replace("keys", make([]byte, maxSecret+1)); err == nil {
		t.Fatal("too large a secret was stored")
	}
	if got, err := b.Get("keys"); err != nil || string(got) != "first" {
		t.Errorf("%q, %v", got, err)
	}
	if names := sealedFiles(t, dir); len(names) != 1 {
		t.Errorf("beside the secret there is something left: %q", names)
	}
}

// What a crash cut off is finished when the Box is opened: after the exchange
// the old file is overwritten, before it the file in use is left alone.
func TestReplaceCutOff(t *testing.T) {
	for _, exchanged := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "efs", ".server")
		key := newKey(t)
		b, err := CreateBox(dir, again(t, key), nil)
		if err != nil {
			t.Fatal(err)
		}
		put(t, b, "keys", "first")
		path := filepath.Join(dir, sealedDir, "keys.sealed")
		link := filepath.Join(dir, "link")
		for _, l := range []string{beside(path), link} {
			if err := os.Link(path, l); err != nil {
				t.Fatal(err)
			}
		}
		want := "first"
		if exchanged {
			want = "second"
			put(t, b, "keys", want)
		}
		b.Close()
		if b, err = OpenBox(dir, again(t, key)); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Get("keys"); err != nil || string(got) != want {
			t.Errorf("exchanged %t: %q, %v", exchanged, got, err)
		}
		old, err := os.ReadFile(link)
		if zeros := bytes.Equal(old, make([]byte, len(old))); err != nil || zeros != exchanged {
			t.Errorf("exchanged %t: overwritten %t, %v", exchanged, zeros, err)
		}
		if names := sealedFiles(t, dir); len(names) != 1 {
			t.Errorf("exchanged %t: left %q", exchanged, names)
		}
		b.Close()
	}
}
