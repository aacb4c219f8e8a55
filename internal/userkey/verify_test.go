package userkey

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"sync"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/efs-project/efs"
)

func armorSignature(t testing.TB, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.SignatureType, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	w.Close()
	return out.String()
}

// user is one user with a key of each kind, and how each signs.
type user struct {
	keys    []*Public
	signers []Signer
}

func newUser(t testing.TB) user {
	t.Helper()
	private, _, err := Generate("app1")
	if err != nil {
		t.Fatal(err)
	}
	pgp, err := parseSigner(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := newRaw(key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	v6 := newV6(t)
	signers := []Signer{pgp, v6, &rawSigner{pub, key}}
	u := user{signers: signers}
	for _, s := range signers {
		u.keys = append(u.keys, s.Public())
	}
	return u
}

// newV6 makes a key of RFC 9580.
func newV6(t testing.TB) Signer {
	t.Helper()
	e, err := openpgp.NewEntity("app1", "", "", &packet.Config{V6Keys: true, Algorithm: packet.PubKeyAlgoEd25519})
	if err != nil {
		t.Fatal(err)
	}
	pub, err := publicOf(e)
	if err != nil {
		t.Fatal(err)
	}
	return &pgpSigner{pub: pub, entity: e, keyID: e.PrimaryKey.KeyId}
}

func TestAnyOfSeveralKeys(t *testing.T) {
	u := newUser(t)
	for _, s := range u.signers {
		sig, err := s.Sign(message)
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(u.keys, message, sig); err != nil {
			t.Errorf("%s: %v", s.Public().Kind(), err)
		}
		if err := Verify(newUser(t).keys, message, sig); !errors.Is(err, ErrSignature) {
			t.Errorf("%s, another user: %v", s.Public().Kind(), err)
		}
		if err := Verify(nil, message, sig); !errors.Is(err, ErrSignature) {
			t.Errorf("%s, nobody: %v", s.Public().Kind(), err)
		}
	}
}

// An answer about a stranger costs exactly the verifications that an answer
// about a user with a wrong signature costs, whatever keys the user has.
func TestEqualWork(t *testing.T) {
	u, other := newUser(t), newUser(t)
	cost := func(keys []*Public, sig string) uint64 {
		before := Verifications()
		if err := Verify(keys, message, sig); !errors.Is(err, ErrSignature) {
			t.Fatalf("%v, want ErrSignature", err)
		}
		return Verifications() - before
	}
	for i, s := range u.signers {
		wrongKey, err := other.signers[i].Sign(message)
		if err != nil {
			t.Fatal(err)
		}
		wrongText, err := s.Sign([]byte("else"))
		if err != nil {
			t.Fatal(err)
		}
		for _, sig := range []string{wrongKey, wrongText} {
			want := cost(nil, sig)
			if want == 0 {
				t.Fatal("nothing is verified for a stranger")
			}
			for _, keys := range [][]*Public{u.keys, u.keys[:1], u.keys[1:], {u.keys[2]}} {
				if got := cost(keys, sig); got != want {
					t.Errorf("%s: %d verifications with %d keys, %d for a stranger", s.Public().Kind(), got, len(keys), want)
				}
			}
		}
	}
}

func TestMarshalRoundTrip(t *testing.T) {
	for _, k := range newUser(t).keys {
		again, err := ParsePublic(k.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if again.Fingerprint() != k.Fingerprint() || !bytes.Equal(again.Marshal(), k.Marshal()) || again.Kind() != k.Kind() {
			t.Errorf("%s: not the same after a round trip", k.Kind())
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	u := newUser(t)
	var wg sync.WaitGroup
	for range 4 {
		for _, s := range u.signers {
			wg.Go(func() {
				sig, err := s.Sign(message)
				if err != nil {
					t.Error(err)
				}
				if err := Verify(u.keys, message, sig); err != nil {
					t.Error(err)
				}
				if err := s.Public().Usable(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

func FuzzParsePublic(f *testing.F) {
	for _, k := range newUser(f).keys {
		f.Add(k.Marshal())
	}
	f.Add([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl x"))
	f.Add([]byte(degenerate()))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePublic(b)
		if err != nil {
			if !errors.Is(err, efs.ErrBadInput) {
				t.Fatalf("not ErrBadInput: %v", err)
			}
			return
		}
		if again, err := ParsePublic(p.Marshal()); err != nil || again.Fingerprint() != p.Fingerprint() {
			t.Fatalf("accepted, but not again: %v", err)
		}
	})
}

func FuzzSignature(f *testing.F) {
	u := newUser(f)
	for _, s := range u.signers {
		sig, err := s.Sign([]byte("something else"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sig)
	}
	f.Add(base64.StdEncoding.EncodeToString(make([]byte, 64)))
	f.Add(beginSSHSignature + "\nAAAA\n" + endSSHSignature)
	f.Fuzz(func(t *testing.T, sig string) {
		err := Verify(u.keys, message, sig)
		if err == nil {
			t.Fatal("forged")
		}
		if errors.Is(err, efs.ErrBadInput) == errors.Is(err, ErrSignature) {
			t.Fatalf("neither malformed nor wrong, or both: %v", err)
		}
		if stranger := Verify(nil, message, sig); stranger.Error() != err.Error() {
			t.Fatalf("a user: %v; a stranger: %v", err, stranger)
		}
	})
}

func FuzzPrivateKey(f *testing.F) {
	private, _, err := Generate("x")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(private)
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := parseSigner(b, func() ([]byte, error) { return []byte("x"), nil })
		if err != nil && !errors.Is(err, efs.ErrBadInput) && !errors.Is(err, efs.ErrWrongKey) {
			t.Fatalf("unexpected kind of error: %v", err)
		}
	})
}
