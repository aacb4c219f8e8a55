package masterkey

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

const label Label = "efs example wrap\x00"

var (
	update  = flag.Bool("update", false, "write the example anew")
	binding = efs.Binding{Purpose: "epoch", FS: efs.ID{1}, Stage: 1, Epoch: 3, Key: efs.ID{2}}
	plain   = bytes.Repeat([]byte{7}, secret.Size)
)

func material(t *testing.T) *secret.Key {
	t.Helper()
	k, err := secret.NewKey(bytes.Repeat([]byte{42}, secret.Size))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Destroy)
	return k
}

// What format 1 wrapped must open for ever.
func TestExampleOpens(t *testing.T) {
	const file = "testdata/wrap-1.hex"
	if *update {
		w, err := label.Wrap(material(t), "a", 5, plain, binding)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(hex.EncodeToString(w)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if n := Version(wrapped); n != 5 {
		t.Errorf("version %d", n)
	}
	if got, err := label.Unwrap(material(t), "a", wrapped, binding); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%x, %v", got, err)
	}
}

func TestWrapsAreBound(t *testing.T) {
	w, err := label.Wrap(material(t), "a", 5, plain, binding)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := label.Unwrap(material(t), "b", w, binding); !errors.Is(err, efs.ErrWrongKey) {
		t.Errorf("another id: %v", err)
	}
	if _, err := Label("efs another wrap\x00").Unwrap(material(t), "a", w, binding); !errors.Is(err, efs.ErrWrongKey) {
		t.Errorf("another label: %v", err)
	}
	w[4]++
	if _, err := label.Unwrap(material(t), "a", w, binding); !errors.Is(err, efs.ErrWrongKey) {
		t.Errorf("another version: %v", err)
	}
	if n := Version(w[1:]); n != 0 {
		t.Errorf("something else has version %d", n)
	}
}

func TestBadIDs(t *testing.T) {
	for _, id := range []string{"", ".", "a/b", "../a", "a b", "ä", "-a", strings.Repeat("a", 129)} {
		if err := CheckID(id); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("CheckID(%q): %v", id, err)
		}
	}
}
