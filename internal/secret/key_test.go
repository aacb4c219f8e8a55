package secret

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func newTestKey(t *testing.T, fill byte) *Key {
	t.Helper()
	k, err := NewKey(bytes.Repeat([]byte{fill}, Size))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Destroy)
	return k
}

func TestNewKeyWipesItsSource(t *testing.T) {
	for _, n := range []int{Size, Size - 1, Size + 1, 0} {
		b := bytes.Repeat([]byte{7}, n)
		k, err := NewKey(b)
		if (err == nil) != (n == Size) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if k != nil {
			k.Destroy()
		}
		if !bytes.Equal(b, make([]byte, n)) {
			t.Errorf("%d bytes: the source still holds the key", n)
		}
	}
}

// RFC 5869 with SHA-256, computed by its two steps.
func TestDeriveIsHKDF(t *testing.T) {
	k := newTestKey(t, 3)
	got, err := k.Derive([]byte("salt"), []byte("info"))
	if err != nil {
		t.Fatal(err)
	}
	extract := hmac.New(sha256.New, []byte("salt"))
	extract.Write(bytes.Repeat([]byte{3}, Size))
	expand := hmac.New(sha256.New, extract.Sum(nil))
	expand.Write([]byte("info\x01"))
	if want := expand.Sum(nil); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestSealAndOpen(t *testing.T) {
	k, info := newTestKey(t, 1), []byte("info")
	for _, n := range []int{0, 1, 32, 5000} {
		plain := bytes.Repeat([]byte{9}, n)
		sealed, err := k.Seal(plain, info)
		if err != nil || len(sealed) != n+Overhead {
			t.Fatalf("%d bytes sealed to %d: %v", n, len(sealed), err)
		}
		if got, err := k.Open(sealed, info); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if again, err := k.Seal(plain, info); err != nil || bytes.Equal(again, sealed) {
			t.Errorf("%d bytes: sealing twice gave the same bytes (%v)", n, err)
		}
	}
}

func TestOpenRefusesWhatWasNotSealed(t *testing.T) {
	k, info := newTestKey(t, 1), []byte("info")
	sealed, err := k.Seal([]byte("a secret"), info)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		sealed[i] ^= 1
		if _, err := k.Open(sealed, info); !errors.Is(err, ErrOpen) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
		sealed[i] ^= 1
		if _, err := k.Open(sealed[:i], info); !errors.Is(err, ErrOpen) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := k.Open(sealed, []byte("other")); !errors.Is(err, ErrOpen) {
		t.Errorf("another info: %v", err)
	}
	if _, err := newTestKey(t, 2).Open(sealed, info); !errors.Is(err, ErrOpen) {
		t.Errorf("another key: %v", err)
	}
}

func TestDestroyedKey(t *testing.T) {
	k := newTestKey(t, 1)
	place := k.s.bytes()
	k.Destroy()
	k.Destroy()
	if !bytes.Equal(place, make([]byte, Size)) {
		t.Error("the key still lies in memory")
	}
	_, err := k.Derive(nil, nil)
	_, sealErr := k.Seal(nil, nil)
	_, openErr := k.Open(make([]byte, 100), nil)
	for what, err := range map[string]error{
		"With": k.With(func([]byte) { t.Error("With called its function") }), "Derive": err, "Seal": sealErr, "Open": openErr,
	} {
		if !errors.Is(err, ErrDestroyed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if k.Equal(k) {
		t.Error("a destroyed key equals something")
	}
}

func TestEqual(t *testing.T) {
	if a, b := newTestKey(t, 1), newTestKey(t, 1); !a.Equal(b) || a.Equal(newTestKey(t, 2)) {
		t.Error("Equal does not compare the bytes")
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	k := newTestKey(t, 0x6b)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown := fmt.Sprintf(verb, k)
		for _, form := range []string{"kkkk", hex.EncodeToString([]byte("kkkk")), "107 107", "0x6b"} {
			if strings.Contains(shown, form) {
				t.Errorf("%s shows the key: %s", verb, shown)
			}
		}
	}
}

// Keys share pages; slots that were given back are used again.
func TestHeapReusesSlots(t *testing.T) {
	var keys []*Key
	for range 3*slotsPerPage() + 1 {
		keys = append(keys, newTestKey(t, byte(len(keys))))
	}
	pages := len(heap.pages)
	for i, k := range keys {
		if err := k.With(func(b []byte) {
			if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, Size)) {
				t.Errorf("key %d was overwritten", i)
			}
		}); err != nil {
			t.Error(err)
		}
		k.Destroy()
	}
	for range len(keys) {
		newTestKey(t, 1)
	}
	if len(heap.pages) != pages {
		t.Errorf("%d pages became %d", pages, len(heap.pages))
	}
}

func TestPurge(t *testing.T) {
	k := newTestKey(t, 1)
	Purge()
	if err := k.With(func([]byte) {}); !errors.Is(err, ErrDestroyed) {
		t.Errorf("a key after Purge: %v", err)
	}
	k.Destroy()
	if after := newTestKey(t, 1); after.With(func([]byte) {}) != nil {
		t.Error("no key can be made after Purge")
	}
}

func TestConcurrentUse(t *testing.T) {
	shared := newTestKey(t, 1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				k, err := RandomKey()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := shared.Derive(nil, nil); err != nil {
					t.Error(err)
				}
				k.Destroy()
			}
		})
	}
	wg.Wait()
}
