package seal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func sealedFor(t *testing.T, r ...Recipient) []byte {
	t.Helper()
	return mustSeal(t, Params{FS: testFS, Content: testContent, Stages: []Stage{{AES256GCM, r}}}, []byte("hello"))
}

// opensWith opens sealed with one identity.
func opensWith(sealed []byte, id Identity) error {
	o := testOpen()
	o.Identities = []Identity{id}
	got, _, err := OpenBytes(nil, sealed, o)
	if err == nil && string(got) != "hello" {
		return errors.New("other contents")
	}
	return err
}

func passphrase(t *testing.T, pass string) Recipient {
	t.Helper()
	r, err := PassphraseRecipient([]byte(pass), cheap)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPassphrase(t *testing.T) {
	sealed := sealedFor(t, passphrase(t, "correct horse"))
	if err := opensWith(sealed, PassphraseIdentity([]byte("correct horse"), Argon2Limits{})); err != nil {
		t.Error(err)
	}
	for name, id := range map[string]Identity{
		"wrong passphrase": PassphraseIdentity([]byte("correct house"), Argon2Limits{}),
		"keyring":          ring(kekA),
	} {
		if err := opensWith(sealed, id); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := PassphraseRecipient(nil, cheap); !errors.Is(err, ErrParams) {
		t.Errorf("empty passphrase: %v", err)
	}
	if _, err := PassphraseRecipient([]byte("x"), Argon2Params{MemoryKiB: 15, Threads: 2}); !errors.Is(err, ErrParams) {
		t.Errorf("too little memory: %v", err)
	}
}

// TestPassphraseIsAlone: a stage that a passphrase opens opens by nothing else.
func TestPassphraseIsAlone(t *testing.T) {
	p := Params{Stages: []Stage{{AES256GCM, []Recipient{passphrase(t, "a"), KeyRecipient(kekA)}}}}
	if _, _, err := SealBytes(nil, nil, &p, Recovery{}); !errors.Is(err, ErrParams) {
		t.Errorf("sealing: %v", err)
	}
	f := hello(Params{FS: testFS, Content: testContent, SegmentSize: 1 << 10, Stages: p.Stages})
	if _, _, err := OpenBytes(nil, f.seal(t), testOpen()); !errors.Is(err, ErrFormat) {
		t.Errorf("opening: %v", err)
	}
}

// TestAbsurdCostsAreRefusedAtOnce: what a file asks for is judged before any
// work is done for it.
func TestAbsurdCostsAreRefusedAtOnce(t *testing.T) {
	for _, params := range [][]uint64{{1 << 60, 64, 1}, {1, 1 << 62, 1}, {1, 64, 1 << 40}, {9, 64, 1}, {1, 1<<20 + 1, 1}} {
		slot := Slot{Type: SlotPassphrase, Salt: make([]byte, 32), Params: params, Body: make([]byte, 48)}
		start := time.Now()
		if err := opensWith(sealedFor(t, fixedSlot(slot)), PassphraseIdentity([]byte("x"), Argon2Limits{})); !errors.Is(err, ErrUnsupported) {
			t.Errorf("costs %v: %v", params, err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("costs %v: refused after %v", params, d)
		}
	}
	for _, params := range [][]uint64{{0, 64, 1}, {1, 64, 0}, {1, 15, 2}, {1, 64}, {1, 64, 1, 1}} {
		slot := Slot{Type: SlotPassphrase, Salt: make([]byte, 32), Params: params, Body: make([]byte, 48)}
		if err := opensWith(sealedFor(t, fixedSlot(slot)), PassphraseIdentity([]byte("x"), Argon2Limits{})); !errors.Is(err, ErrFormat) {
			t.Errorf("costs %v: %v", params, err)
		}
	}
}

func TestPublicKey(t *testing.T) {
	key, err := GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	other, err := GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := key.Text()
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public().String()
	if !strings.HasPrefix(public, "efs1") || !strings.HasPrefix(secret, "EFS-SECRET-KEY-1") {
		t.Errorf("text forms are %.20s… and %.16s…", public, secret)
	}
	rcpt, err := ParseRecipient(public + "\n")
	if err != nil {
		t.Fatal(err)
	}
	id, err := ParseIdentity(" " + secret)
	if err != nil {
		t.Fatal(err)
	}
	sealed := sealedFor(t, other.Public(), rcpt, KeyRecipient(kekA))
	for name, id := range map[string]Identity{"parsed": id, "made": key, "second": other, "keyring": ring(kekA)} {
		if err := opensWith(sealed, id); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := opensWith(sealedFor(t, rcpt), other); !errors.Is(err, ErrNoKey) {
		t.Errorf("another's key: %v", err)
	}
	for _, s := range []string{fmt.Sprintf("%v", key), fmt.Sprintf("%+v %#v %s", key, key, key)} {
		if strings.Contains(strings.ToUpper(s), "EFS-SECRET") || len(s) > 200 {
			t.Errorf("a printed private key is %q", s)
		}
	}
	for _, bad := range []string{"", "efs1", secret, public[:len(public)-1], strings.Replace(public, public[40:41], "b", 1), public + "q", strings.ToUpper(public[:9]) + public[9:]} {
		if _, err := ParseRecipient(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("recipient %.30q: %v", bad, err)
		}
	}
	for _, bad := range []string{"", public, secret[:len(secret)-2], bech32Encode("efs-secret-key-", []byte{0x64, 0x7a, 1})} {
		if _, err := ParseIdentity(bad); !errors.Is(err, ErrFormat) || strings.Contains(fmt.Sprint(err), "QQQ") {
			t.Errorf("identity: %v", err)
		}
	}
	if _, err := ParseRecipient(bech32Encode("efs", []byte{0, 0x20, 1})); !errors.Is(err, ErrUnsupported) {
		t.Errorf("key of another kind: %v", err)
	}
}

// TestSlotsDoNotMove: a wrapped key opens only in the file, stage and suite it
// was wrapped for.
func TestSlotsDoNotMove(t *testing.T) {
	key, err := GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	home := Context{FS: testFS, Content: testContent, Stage: 1, Suite: AES256GCM}
	away := []Context{home, home, home, home}
	away[0].FS[0]++
	away[1].Content[15]++
	away[2].Stage = 0
	away[3].Suite = ChaCha20Poly1305
	for name, c := range map[string]struct {
		r    Recipient
		i    Identity
		want error
	}{
		"key":        {KeyRecipient(kekA), ring(kekA), ErrTampered},
		"passphrase": {passphrase(t, "x"), PassphraseIdentity([]byte("x"), Argon2Limits{}), ErrNoKey},
		"public key": {key.Public(), key, ErrTampered},
	} {
		fileKey := bytes.Repeat([]byte{7}, 32)
		s, err := c.r.Wrap(fileKey, home)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.i.Unwrap(s, home); err != nil || !bytes.Equal(got, fileKey) {
			t.Errorf("%s at home: %v", name, err)
		}
		for _, ctx := range away {
			if _, err := c.i.Unwrap(s, ctx); !errors.Is(err, c.want) {
				t.Errorf("%s at %+v: %v", name, ctx, err)
			}
		}
	}
}

// TestIdentityErrorsPassThrough: a KMS that does not answer is not "no key".
func TestIdentityErrorsPassThrough(t *testing.T) {
	away := errors.New("KMS does not answer")
	id := KeyIdentity(func([16]byte) (KEK, error) { return nil, away })
	if err := opensWith(sealedFor(t, KeyRecipient(kekA)), id); !errors.Is(err, away) || errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
}

// TestBech32 checks the codec with valid and invalid strings of BIP 173.
func TestBech32(t *testing.T) {
	for _, s := range []string{"A12UEL5L", "a12uel5l", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"} {
		prefix, data, err := bech32Decode(s)
		if err != nil || bech32Encode(prefix, data) != strings.ToLower(s) {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"1pzry", "pzry9x0s0muk", "1qzzfhee", "A12uEL5L", "a12uel5m", "x1b4n0q5v", "li1dgmt3", "A1G7SGD8"} {
		if _, _, err := bech32Decode(s); err == nil {
			t.Errorf("%s was accepted", s)
		}
	}
}
