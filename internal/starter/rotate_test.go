package starter

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// rotated is a Box before and after its starter key was rotated, as copies of
// its directory.
type rotated struct {
	oldKey, newKey *secret.Key
	before, after  string
}

var boxSecrets = map[string]string{"one": "first", "two": "second", "three": "third"}

func rotateBox(t *testing.T) rotated {
	t.Helper()
	r := rotated{oldKey: newKey(t), newKey: newKey(t), before: filepath.Join(t.TempDir(), "before"), after: filepath.Join(t.TempDir(), "after")}
	dir := filepath.Join(t.TempDir(), "efs", ".server")
	b, err := CreateBox(dir, again(t, r.oldKey), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range boxSecrets {
		put(t, b, name, value)
	}
	copyDir(t, r.before, dir)
	if err := b.Rotate(again(t, r.newKey), nil); err != nil {
		t.Fatal(err)
	}
	checkSecrets(t, "after the rotation", b)
	if b.Generation() != 2 {
		t.Errorf("generation %d", b.Generation())
	}
	b.Close()
	copyDir(t, r.after, dir)
	return r
}

func copyDir(t *testing.T, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func checkSecrets(t *testing.T, what string, b *Box) {
	t.Helper()
	for name, want := range boxSecrets {
		if got, err := b.Get(name); err != nil || string(got) != want {
			t.Errorf("%s: secret %s is %q, %v", what, name, got, err)
		}
	}
}

// opensWith opens the Box in dir with the right one of two keys, and not with
// the other.
func opensWith(t *testing.T, what, dir string, right, wrong *secret.Key) {
	t.Helper()
	_, err := OpenBox(dir, again(t, wrong))
	wantError(t, what+": the other key", err, efs.ErrWrongKey)
	b, err := OpenBox(dir, again(t, right))
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer b.Close()
	checkSecrets(t, what, b)
	if exists(filepath.Join(dir, nextDir)) {
		t.Errorf("%s: %s is left", what, nextDir)
	}
	put(t, b, "one", boxSecrets["one"])
}

func TestRotatedBoxOpensWithTheNewKeyAlone(t *testing.T) {
	r := rotateBox(t)
	opensWith(t, "after", r.after, r.newKey, r.oldKey)
	for name := range boxSecrets {
		file := name + boxSuffix
		old, err := os.ReadFile(filepath.Join(r.before, sealedDir, file))
		if err != nil {
			t.Fatal(err)
		}
		if have, err := os.ReadFile(filepath.Join(r.after, sealedDir, file)); err != nil || bytes.Contains(have, old[boxHeader:]) {
			t.Errorf("%s still holds what the old key sealed (%v)", file, err)
		}
	}
}

// Wherever a crash cuts a rotation off, exactly one of the two keys opens the
// root, with all secrets.
func TestRotationCutOff(t *testing.T) {
	r := rotateBox(t)
	sealed := func(dir, name string) string { return filepath.Join(dir, sealedDir, name+boxSuffix) }
	next := func(dir, name string) string { return filepath.Join(dir, nextDir, name+boxSuffix) }
	move := func(t *testing.T, to, from string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prepare := func(t *testing.T, names ...string) string {
		dir := filepath.Join(t.TempDir(), "efs", ".server")
		copyDir(t, dir, r.before)
		if err := os.Mkdir(filepath.Join(dir, nextDir), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			move(t, next(dir, name), sealed(r.after, name))
		}
		return dir
	}
	opensWith(t, "while sealing", prepare(t, "one"), r.oldKey, r.newKey)
	opensWith(t, "before root.json", prepare(t, "one", "two", "three"), r.oldKey, r.newKey)

	dir := prepare(t, "one", "two", "three")
	move(t, filepath.Join(dir, rootFile), filepath.Join(r.after, rootFile))
	opensWith(t, "after root.json", dir, r.newKey, r.oldKey)

	dir = prepare(t, "two", "three")
	move(t, filepath.Join(dir, rootFile), filepath.Join(r.after, rootFile))
	move(t, sealed(dir, "one"), sealed(r.after, "one"))
	if err := os.WriteFile(sealed(dir, "two"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	opensWith(t, "while moving", dir, r.newKey, r.oldKey)

	dir = prepare(t)
	move(t, filepath.Join(dir, rootFile), filepath.Join(r.after, rootFile))
	for name := range boxSecrets {
		move(t, sealed(dir, name), sealed(r.after, name))
	}
	opensWith(t, "before the end", dir, r.newKey, r.oldKey)
}

// Secrets are read and written while the key is rotated, again and again.
func TestBoxIsUsedWhileItsKeyIsRotated(t *testing.T) {
	b, dir := newBox(t)
	for name, value := range boxSecrets {
		put(t, b, name, value)
	}
	var work sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		work.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				checkSecrets(t, "meanwhile", b)
				if err := b.Put("one", []byte("first")); err != nil {
					t.Error(err)
				}
				if err := b.Replace("two", []byte("second")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var last *secret.Key
	for range 5 {
		last = newKey(t)
		if err := b.Rotate(again(t, last), nil); err != nil {
			t.Error(err)
		}
	}
	close(done)
	work.Wait()
	b.Close()
	opensWith(t, "at last", dir, last, newKey(t))
}

func TestRotateToAPassphrase(t *testing.T) {
	b, dir := newBox(t)
	_, err := NewPassphrase([]byte("short"))
	wantError(t, "a short passphrase", err, efs.ErrBadInput)
	found, err := NewPassphrase([]byte("correct horse battery"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Rotate(found.Key, found.KDF); err != nil {
		t.Fatal(err)
	}
	if is, err := b.Passphrase(); !is || err != nil {
		t.Errorf("made from a passphrase: %t, %v", is, err)
	}
	b.Close()
	key, err := FromPassphrase(dir, []byte("correct horse battery"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenBox(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
