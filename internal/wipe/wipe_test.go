package wipe

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// The ciphers that hold keys must be among those that can be overwritten: this
// fails when a release of Go or of x/crypto makes them otherwise.
func TestEveryCipherInUseCanBeOverwritten(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	chacha, err := chacha20poly1305.New(key)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, 12)
	for name, c := range map[string]cipher.AEAD{"AES-GCM": gcm, "ChaCha20-Poly1305": chacha} {
		sealed := c.Seal(nil, nonce, []byte("plaintext"), nil)
		if _, err := c.Open(nil, nonce, sealed, nil); err != nil {
			t.Fatal(err)
		}
		if !Object(c) {
			t.Errorf("%s: a %T holds pointers", name, c)
		}
		if opens(c, nonce, sealed) {
			t.Errorf("%s opens what it sealed before it was overwritten", name)
		}
	}
	if !Object(block) {
		t.Errorf("AES: a %T holds pointers", block)
	}
}

// opens reports whether c opens sealed. AES-GCM without its lengths panics.
func opens(c cipher.AEAD, nonce, sealed []byte) (ok bool) {
	defer func() { _ = recover() }()
	_, err := c.Open(nil, nonce, sealed, nil)
	return err == nil
}

func TestGCMKeepsACopyOfItsBlock(t *testing.T) {
	block, _ := aes.NewCipher(make([]byte, 32))
	gcm, _ := cipher.NewGCM(block)
	want := gcm.Seal(nil, make([]byte, 12), []byte("plaintext"), nil)
	Object(block)
	if got := gcm.Seal(nil, make([]byte, 12), []byte("plaintext"), nil); !bytes.Equal(got, want) {
		t.Error("the cipher changed with its block")
	}
}

func TestWhatHoldsPointersIsLeftAlone(t *testing.T) {
	s := "text"
	type object struct {
		n int
		s *string
	}
	o := &object{1, &s}
	for _, p := range []any{o, *o, nil, (*object)(nil), &s, 7} {
		if Object(p) {
			t.Errorf("%T was overwritten", p)
		}
	}
	if o.n != 1 || *o.s != "text" {
		t.Error("it was changed all the same")
	}
}
