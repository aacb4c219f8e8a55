package argon2id

import (
	"bytes"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"
	"pgregory.net/rapid"

	"github.com/efs-project/efs/internal/wipe"
)

func TestAgreesWithTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pass := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "pass")
		salt := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "salt")
		time, memory := rapid.Uint32Range(1, 3).Draw(t, "time"), rapid.Uint32Range(1, 200).Draw(t, "memory")
		threads, size := rapid.Uint8Range(1, 5).Draw(t, "threads"), rapid.Uint32Range(4, 100).Draw(t, "size")
		want := argon2.IDKey(pass, salt, time, memory, threads, size)
		if got := Key(pass, salt, time, memory, threads, size); !bytes.Equal(got, want) {
			t.Fatalf("%x, the library makes %x", got, want)
		}
	})
}

// The state of the hash keeps the passphrase: it must be one that can be
// overwritten.
func TestTheHashCanBeOverwritten(t *testing.T) {
	h, err := blake2b.New512(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !wipe.Object(h) {
		t.Errorf("a %T holds pointers", h)
	}
}
