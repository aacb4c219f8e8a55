package record

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"testing"
)

// The vectors of c2sp.org/XAES-256-GCM, one for each value of the first bit
// of L.
func TestXAESVectors(t *testing.T) {
	for _, v := range []struct {
		key  byte
		ad   string
		want string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		x, err := newXAES(bytes.Repeat([]byte{v.key}, 32))
		if err != nil {
			t.Fatal(err)
		}
		nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
		got, err := x.seal(nil, nonce, []byte("XAES-256-GCM"), []byte(v.ad))
		if err != nil || hex.EncodeToString(got) != v.want {
			t.Errorf("key %02x…: sealed %x, %v; want %s", v.key, got, err, v.want)
		}
		plain, err := x.open(nil, nonce, got, []byte(v.ad))
		if err != nil || string(plain) != "XAES-256-GCM" {
			t.Errorf("key %02x…: opened %q, %v", v.key, plain, err)
		}
	}
}

// The accumulated test of the specification, 10,000 rounds.
func TestXAESAccumulated(t *testing.T) {
	in, sum := sha3.NewSHAKE128(), sha3.NewSHAKE128()
	read := func(n int) []byte {
		b := make([]byte, n)
		in.Read(b)
		return b
	}
	for range 10_000 {
		key, nonce := read(32), read(24)
		plaintext := read(int(read(1)[0]))
		ad := read(int(read(1)[0]))
		x, err := newXAES(key)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := x.seal(nil, nonce, plaintext, ad)
		if err != nil {
			t.Fatal(err)
		}
		if opened, err := x.open(nil, nonce, sealed, ad); err != nil || !bytes.Equal(opened, plaintext) {
			t.Fatalf("opened %x, %v; want %x", opened, err, plaintext)
		}
		sum.Write(sealed)
	}
	got := make([]byte, 32)
	sum.Read(got)
	if want := "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"; hex.EncodeToString(got) != want {
		t.Errorf("hash of 10,000 sealed texts %x, want %s", got, want)
	}
}
