package kdf

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"pgregory.net/rapid"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 5869, appendix A.1, cut to the first block of the output.
func TestVector(t *testing.T) {
	secret, salt := bytes.Repeat([]byte{0x0b}, 22), unhex(t, "000102030405060708090a0b0c")
	prk := Extract(secret, salt)
	if got, want := prk[:], unhex(t, "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"); !bytes.Equal(got, want) {
		t.Errorf("extracted %x, want %x", got, want)
	}
	okm := HKDF(secret, salt, unhex(t, "f0f1f2f3f4f5f6f7f8f9"))
	if got, want := okm[:], unhex(t, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"); !bytes.Equal(got, want) {
		t.Errorf("derived %x, want %x", got, want)
	}
}

func TestAgreesWithTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytesOf := func(name string) []byte { return rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, name) }
		key, a, b := bytesOf("key"), bytesOf("a"), bytesOf("b")
		m := hmac.New(sha256.New, key)
		m.Write(a)
		m.Write(b)
		if got, want := MAC(key, a, b), m.Sum(nil); !bytes.Equal(got[:], want) {
			t.Fatalf("MAC %x, want %x", got, want)
		}
		want, err := hkdf.Key(sha256.New, key, a, string(b), Size)
		if err != nil {
			t.Fatal(err)
		}
		if got := HKDF(key, a, b); !bytes.Equal(got[:], want) {
			t.Fatalf("derived %x, want %x", got, want)
		}
	})
}

func TestNothingIsAllocated(t *testing.T) {
	key, msg := make([]byte, 32), make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() { HKDF(key, key, msg) }); n != 0 {
		t.Errorf("%v allocations for a key", n)
	}
}

func BenchmarkHKDF(b *testing.B) {
	key, msg := make([]byte, 32), make([]byte, 60)
	b.ReportAllocs()
	for b.Loop() {
		HKDF(key, key, msg)
	}
}
