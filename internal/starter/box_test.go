package starter

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

func newKey(t *testing.T) *secret.Key {
	t.Helper()
	k, err := secret.RandomKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newBox(t *testing.T) (b *Box, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "efs", ".server")
	b, err := CreateBox(dir, newKey(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b, dir
}

// again is the same key once more: a Box owns the one it is given.
func again(t *testing.T, k *secret.Key) *secret.Key {
	t.Helper()
	copied := make([]byte, secret.Size)
	if err := k.With(func(b []byte) { copy(copied, b) }); err != nil {
		t.Fatal(err)
	}
	k, err := secret.NewKey(copied)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func put(t *testing.T, b *Box, name, value string) {
	t.Helper()
	if err := b.Put(name, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func sealedPath(dir, name string) string { return filepath.Join(dir, sealedDir, name+boxSuffix) }

func TestBoxKeepsSecrets(t *testing.T) {
	b, dir := newBox(t)
	put(t, b, "jwt", "first")
	put(t, b, "jwt", "the second")
	put(t, b, "ca.user-data", "")
	reopened, err := OpenBox(dir, again(t, b.key))
	if err != nil {
		t.Fatal(err)
	}
	if reopened.RootID() != b.RootID() || b.RootID().IsZero() {
		t.Errorf("root id %s became %s", b.RootID(), reopened.RootID())
	}
	for name, want := range map[string]string{"jwt": "the second", "ca.user-data": ""} {
		if got, err := reopened.Get(name); err != nil || string(got) != want {
			t.Errorf("Get(%s): %q, %v", name, got, err)
		}
	}
	if names, err := b.Names(); err != nil || strings.Join(names, " ") != "ca.user-data jwt" {
		t.Errorf("Names: %v, %v", names, err)
	}
	for range 2 {
		if err := b.Delete("jwt"); err != nil {
			t.Error(err)
		}
	}
	_, err = b.Get("jwt")
	wantError(t, "Get after Delete", err, efs.ErrNotFound)
}

func TestNothingLiesInClear(t *testing.T) {
	b, dir := newBox(t)
	put(t, b, "jwt", "a secret that nobody may see")
	var key []byte
	_ = b.key.With(func(k []byte) { key = bytes.Clone(k) })
	for _, path := range []string{filepath.Join(dir, rootFile), sealedPath(dir, "jwt")} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte("nobody")) || bytes.Contains(content, key) {
			t.Errorf("%s shows a secret", path)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
	}
}

func TestBadNames(t *testing.T) {
	b, dir := newBox(t)
	for _, name := range []string{"", ".", "..", "../jwt", "a/b", "JWT", "a b", ".hidden", "-x", strings.Repeat("a", 129)} {
		_, err := b.Get(name)
		wantError(t, "Get "+name, err, efs.ErrBadInput)
		wantError(t, "Put "+name, b.Put(name, nil), efs.ErrBadInput)
		wantError(t, "Delete "+name, b.Delete(name), efs.ErrBadInput)
	}
	wantError(t, "a huge secret", b.Put("huge", make([]byte, maxSecret+1)), efs.ErrBadInput)
	if entries, err := os.ReadDir(filepath.Join(dir, sealedDir)); err != nil || len(entries) != 0 {
		t.Errorf("bad names left %v, %v", entries, err)
	}
}

func TestTamperedSecret(t *testing.T) {
	b, dir := newBox(t)
	put(t, b, "jwt", "secret")
	put(t, b, "kms", "secret")
	path := sealedPath(dir, "jwt")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := b.Get("jwt")
		wantError(t, what, err, efs.ErrDamaged)
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1
		refused("a flipped byte", flipped)
		refused("a cut", whole[:i])
	}
	other, err := os.ReadFile(sealedPath(dir, "kms"))
	if err != nil {
		t.Fatal(err)
	}
	refused("another secret under its name", other)
	foreign, foreignDir := newBox(t)
	put(t, foreign, "jwt", "secret")
	theirs, err := os.ReadFile(sealedPath(foreignDir, "jwt"))
	if err != nil {
		t.Fatal(err)
	}
	refused("another root's", theirs)
}

// The same starter key for two roots must not make their secrets exchangeable.
func TestSecretsAreBoundToTheRoot(t *testing.T) {
	b, dir := newBox(t)
	put(t, b, "jwt", "secret")
	otherDir := filepath.Join(t.TempDir(), ".server")
	other, err := CreateBox(otherDir, again(t, b.key), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Link(sealedPath(dir, "jwt"), sealedPath(otherDir, "jwt")); err != nil {
		t.Fatal(err)
	}
	_, err = other.Get("jwt")
	wantError(t, "another root's secret under the same starter key", err, efs.ErrDamaged)
}

func TestWrongKeyIsRefused(t *testing.T) {
	b, dir := newBox(t)
	put(t, b, "jwt", "secret")
	wrong := newKey(t)
	_, err := OpenBox(dir, wrong)
	wantError(t, "a wrong key", err, efs.ErrWrongKey)
	if err == nil || !strings.Contains(err.Error(), "the starter key does not fit this root ("+dir+")") {
		t.Errorf("the message is %q", err)
	}
	if wrong.With(func([]byte) {}) != nil {
		t.Error("a refused key was taken from its owner")
	}
}

// Whatever part of root.json is changed, the key does not fit any more, or the
// file is refused.
func TestChangedRootIsRefused(t *testing.T) {
	b, dir := newBox(t)
	path := filepath.Join(dir, rootFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1
		if err := os.WriteFile(path, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		opened, err := OpenBox(dir, again(t, b.key))
		if err == nil && opened.RootID() != b.RootID() {
			t.Errorf("byte %d (%q) flipped: opened as another root", i, whole[i])
		}
	}
	for what, content := range map[string]string{
		"newer":         strings.Replace(string(whole), `"format": 1`, `"format": 2`, 1),
		"unknown field": strings.Replace(string(whole), `"format": 1`, `"format": 1, "more": 1`, 1),
		"another time":  strings.Replace(string(whole), `"created": "2`, `"created": "3`, 1),
		"generation":    strings.Replace(string(whole), `"generation": 1`, `"generation": 2`, 1),
		"empty":         "",
		"no starters":   `{"format":1,"root":"` + b.RootID().String() + `","created":"2026-01-01T00:00:00Z","starters":[]}`,
		"too large":     strings.Repeat(" ", maxRoot) + string(whole),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenBox(dir, again(t, b.key)); err == nil {
			t.Errorf("%s: opened", what)
		}
	}
}

func TestSecondSetOfKeysIsNeverMade(t *testing.T) {
	b, dir := newBox(t)
	put(t, b, "jwt", "secret")
	_, err := CreateBox(dir, newKey(t), nil)
	wantError(t, "beside root.json", err, efs.ErrExists)
	if err := os.Remove(filepath.Join(dir, rootFile)); err != nil {
		t.Fatal(err)
	}
	refuse := func(what, path string) {
		t.Helper()
		_, err := CreateBox(dir, newKey(t), nil)
		wantError(t, "CreateBox beside "+what, err, efs.ErrExists)
		_, err = BoxState(dir)
		wantError(t, "BoxState beside "+what, err, efs.ErrDamaged)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("beside %s: %q does not name %s", what, err, path)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	refuse("a sealed secret", sealedPath(dir, "jwt"))
	for what, path := range map[string]string{
		"a key store":          filepath.Join(dir, keysFile),
		"a file system's keys": filepath.Join(filepath.Dir(dir), "user-data", "system", "aes.key"),
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		refuse(what, path)
	}
	if initialised, err := BoxState(dir); initialised || err != nil {
		t.Errorf("an empty root: %v, %v", initialised, err)
	}
	if _, err := CreateBox(dir, newKey(t), nil); err != nil {
		t.Errorf("CreateBox in an empty root: %v", err)
	}
}

func TestOnlyOneOfManyInitialises(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[efs]*?", ".server")
	var wg sync.WaitGroup
	made := make([]*Box, 8)
	for i := range made {
		wg.Go(func() {
			b, err := CreateBox(dir, newKey(t), nil)
			if err != nil && !errors.Is(err, efs.ErrExists) {
				t.Error(err)
			}
			made[i] = b
		})
	}
	wg.Wait()
	n := 0
	for _, b := range made {
		if b == nil {
			continue
		}
		n++
		if _, err := OpenBox(dir, again(t, b.key)); err != nil {
			t.Errorf("the key of the one that won: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d Boxes were made", n)
	}
}

func TestUninitialised(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".server")
	if initialised, err := BoxState(dir); initialised || err != nil {
		t.Errorf("BoxState: %v, %v", initialised, err)
	}
	_, err := OpenBox(dir, newKey(t))
	wantError(t, "OpenBox", err, efs.ErrNotFound)
	_, err = FromPassphrase(dir, []byte("a passphrase"))
	wantError(t, "FromPassphrase", err, efs.ErrNotFound)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("asking made a directory")
	}
}

func TestOpenCleansUpAfterACrash(t *testing.T) {
	b, dir := newBox(t)
	put(t, b, "jwt", "secret")
	left := filepath.Join(dir, sealedDir, ".jwt.sealed.tmp-ABC")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBox(dir, again(t, b.key)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Error("what a crash left is still there")
	}
}
