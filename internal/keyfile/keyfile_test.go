package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/efs-project/efs/seal"
)

func TestAKeyPairComesBack(t *testing.T) {
	k, err := seal.GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "key")
	if err := Write(name, k, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := Write(name, k, time.Now()); !errors.Is(err, fs.ErrExist) {
		t.Fatal("a key was overwritten:", err)
	}
	if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatal(fi.Mode(), err)
	}
	id, err := ReadIdentity(name)
	if err != nil || id.(*seal.PrivateKey).Public().ID() != k.Public().ID() {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte("# safes\n"+k.Public().String()+"\n\n"+k.Public().String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if all, err := ParseRecipients([]string{k.Public().String(), list}); err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	for _, bad := range []string{"efs1nonsense", "missing", name} {
		if _, err := ParseRecipients([]string{bad}); err == nil {
			t.Fatal(bad, "was taken")
		}
	}
	if _, err := ReadIdentity(list); err == nil {
		t.Fatal("a public key was taken for a private one")
	}
}

func TestAPassphraseIsTheFirstLine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pass")
	for in, want := range map[string]string{"a b\n": "a b", "a b": "a b", "x\r\nrest": "x", " x \n": " x ", "": "", "\nx": ""} {
		if err := os.WriteFile(name, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadPassphrase(name)
		if string(got) != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}
