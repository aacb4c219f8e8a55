package starter

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

func sameKey(t *testing.T, text string, k *secret.Key) {
	t.Helper()
	want, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if k == nil || !k.Equal(want) {
		t.Error("another key was found")
	}
}

func generate(t *testing.T) string {
	t.Helper()
	text, key, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, string(text), key)
	return string(text)
}

// keyFile writes text to a file on a disk: what a tmpfs allows is not allowed
// there.
func keyFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "starter.key")
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParse(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb, 0xff}, 16)
	for what, text := range map[string]string{
		"standard":         base64.StdEncoding.EncodeToString(raw),
		"without padding":  base64.RawStdEncoding.EncodeToString(raw),
		"URL":              base64.URLEncoding.EncodeToString(raw),
		"with white space": " \t" + base64.StdEncoding.EncodeToString(raw) + "\r\n",
	} {
		k, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if err := k.With(func(b []byte) {
			if !bytes.Equal(b, raw) {
				t.Errorf("%s: another key", what)
			}
		}); err != nil {
			t.Error(err)
		}
	}
	for what, text := range map[string]string{
		"empty":      " \n",
		"short":      base64.StdEncoding.EncodeToString(raw[:31]),
		"long":       base64.StdEncoding.EncodeToString(append(raw, 1)),
		"hex":        strings.Repeat("ab", 32),
		"not base64": strings.Repeat("secret*&", 5),
	} {
		_, err := Parse([]byte(text))
		wantError(t, what, err, efs.ErrBadInput)
		if err != nil && (strings.Contains(err.Error(), "secret*") || strings.Contains(err.Error(), "abab")) {
			t.Errorf("%s: the error shows what was given: %v", what, err)
		}
	}
}

func TestNoSource(t *testing.T) {
	found, err := Find(t.TempDir(), Source{Credential: "/nonexistent/credential", Keyring: "efs-test-none"})
	if found != nil || err != nil {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestKeyFile(t *testing.T) {
	text := generate(t)
	found, err := Find(t.TempDir(), Source{File: keyFile(t, text+"\n", 0o400)})
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, text, found.Key)
	if !strings.HasPrefix(found.From, "file ") || found.KDF != nil {
		t.Errorf("%+v", found)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660, 0o602} {
		path := keyFile(t, text, mode)
		_, err := Find(t.TempDir(), Source{File: path})
		wantError(t, mode.String(), err, efs.ErrRefused)
		if err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) || strings.Contains(err.Error(), text) {
			t.Errorf("%v: the message is %q", mode, err)
		}
	}
	for what, c := range map[string]struct {
		path string
		want error
	}{
		"missing":     {"/nonexistent/key", os.ErrNotExist},
		"a directory": {t.TempDir(), efs.ErrBadInput},
		"too large":   {keyFile(t, strings.Repeat(" ", maxKeyText)+text, 0o600), efs.ErrBadInput},
		"garbage":     {keyFile(t, "garbage", 0o600), efs.ErrBadInput},
	} {
		_, err := Find(t.TempDir(), Source{File: c.path})
		wantError(t, what, err, c.want)
	}
}

func TestKeyFileOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give files away")
		return
	}
	path := keyFile(t, generate(t), 0o600)
	if err := os.Chown(path, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	_, err := Find(t.TempDir(), Source{File: path})
	wantError(t, "another user's file", err, efs.ErrRefused)
}

// Orchestrators mount secrets on a tmpfs, readable by all in the container.
func TestKeyFileOnTmpfs(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "efs-test-")
	if err != nil {
		t.Logf("no tmpfs to test with: %v", err)
		return
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	text, path := generate(t), filepath.Join(dir, "key")
	for mode, want := range map[os.FileMode]error{0o444: nil, 0o646: efs.ErrRefused} {
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		_, err := Find(t.TempDir(), Source{File: path})
		wantError(t, mode.String(), err, want)
	}
}

func TestCredential(t *testing.T) {
	text := generate(t)
	path := keyFile(t, text, 0o440) // as systemd makes them
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(path))
	if err := os.Rename(path, filepath.Join(filepath.Dir(path), CredentialName)); err != nil {
		t.Fatal(err)
	}
	found, err := Find(t.TempDir(), DefaultSource())
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, text, found.Key)
	other := generate(t)
	src := DefaultSource()
	src.File = keyFile(t, other, 0o600)
	if found, err = Find(t.TempDir(), src); err != nil {
		t.Fatal(err)
	}
	sameKey(t, other, found.Key)
	_, err = Find(t.TempDir(), Source{Credential: keyFile(t, "garbage", 0o400), Keyring: "efs-test-none"})
	wantError(t, "an unusable credential", err, efs.ErrBadInput)
}

func TestTwoSourcesAreRefused(t *testing.T) {
	path := keyFile(t, generate(t), 0o600)
	prompt := func(string) ([]byte, error) { return nil, errors.New("asked") }
	_, err := Find(t.TempDir(), Source{File: path, Prompt: prompt})
	wantError(t, "file and passphrase", err, efs.ErrBadInput)
	keepInherited(newKey(t))
	_, err = Find(t.TempDir(), Source{File: path})
	wantError(t, "environment and file", err, efs.ErrBadInput)
	if err == nil || !strings.Contains(err.Error(), EnvName) || !strings.Contains(err.Error(), path) {
		t.Errorf("the message is %q", err)
	}
}

// answers is a person who types.
func answers(t *testing.T, lines ...string) func(string) ([]byte, error) {
	return func(text string) ([]byte, error) {
		if len(lines) == 0 {
			t.Fatalf("asked too often: %s", text)
		}
		line := lines[0]
		lines = lines[1:]
		return []byte(line), nil
	}
}

func TestPassphrase(t *testing.T) {
	const pass = "correct horse battery staple"
	dir := filepath.Join(t.TempDir(), ".server")
	found, err := Find(dir, Source{Prompt: answers(t, pass, pass)})
	if err != nil {
		t.Fatal(err)
	}
	box, err := CreateBox(dir, found.Key, found.KDF)
	if err != nil {
		t.Fatal(err)
	}
	put(t, box, "jwt", "secret")
	found, err = Find(dir, Source{Prompt: answers(t, pass)})
	if err != nil || found.KDF != nil || found.From != "passphrase" {
		t.Fatalf("%+v, %v", found, err)
	}
	box, err = OpenBox(dir, found.Key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := box.Get("jwt"); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	wrong, err := FromPassphrase(dir, []byte("another passphrase"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenBox(dir, wrong)
	wantError(t, "a wrong passphrase", err, efs.ErrWrongKey)
	if err == nil || !strings.Contains(err.Error(), "passphrase") {
		t.Errorf("the message is %q", err)
	}
}

func TestBadPassphrases(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".server")
	_, err := Find(dir, Source{Prompt: answers(t, "short")})
	wantError(t, "a short one", err, efs.ErrBadInput)
	_, err = Find(dir, Source{Prompt: answers(t, "correct horse battery", "correct house battery")})
	wantError(t, "two that differ", err, efs.ErrBadInput)
	_, boxDir := newBox(t)
	_, err = Find(boxDir, Source{Prompt: answers(t, "correct horse battery")})
	wantError(t, "for a root that has a key", err, efs.ErrBadInput)
}

// root.json can be written by others: its parameters are bounded before any
// work is done.
func TestAbsurdKDFIsRefused(t *testing.T) {
	for what, change := range map[string]func(*KDF){
		"memory":     func(k *KDF) { k.Memory = kdfMaxMemory + 1 },
		"no memory":  func(k *KDF) { k.Memory = 0 },
		"time":       func(k *KDF) { k.Time = kdfMaxTime + 1 },
		"no time":    func(k *KDF) { k.Time = 0 },
		"no threads": func(k *KDF) { k.Threads = 0 },
		"salt":       func(k *KDF) { k.Salt = nil },
		"algorithm":  func(k *KDF) { k.Algorithm = "scrypt" },
	} {
		dir, kdf := filepath.Join(t.TempDir(), ".server"), newKDF()
		change(kdf)
		if _, err := CreateBox(dir, newKey(t), kdf); err != nil {
			t.Fatal(err)
		}
		_, err := FromPassphrase(dir, []byte("correct horse battery"))
		wantError(t, what, err, efs.ErrDamaged)
	}
}
