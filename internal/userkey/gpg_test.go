package userkey

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

func TestGPGSignatures(t *testing.T) {
	g := newGPG(t)
	g.generate("app1", "ed25519", "")
	g.generate("other", "ed25519", "")
	p := g.public("app1")
	withNewline := append(bytes.Clone(message), '\n')

	for name, sig := range map[string]string{
		"binary":                  g.sign("app1", message),
		"text":                    g.sign("app1", message, "--textmode"),
		"with a newline added":    g.sign("app1", withNewline),
		"text with newline":       g.sign("app1", withNewline, "--textmode"),
		"sha256":                  g.sign("app1", message, "--digest-algo", "SHA256"),
		"spaces around the armor": "\n  " + g.sign("app1", message) + "\r\n\n",
		"CRLF armor":              strings.ReplaceAll(g.sign("app1", message), "\n", "\r\n"),
	} {
		if err := p.Verify(message, sig); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, sig := range map[string]string{
		"another key":        g.sign("other", message),
		"another text":       g.sign("app1", []byte("efs-auth-v1\nelse")),
		"two newlines added": g.sign("app1", append(bytes.Clone(withNewline), '\n')),
		"expired signature":  expiredSignature(t, g),
	} {
		if err := p.Verify(message, sig); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v, want ErrSignature", name, err)
		}
	}
	for name, sig := range map[string]string{
		"several signers":  g.sign("app1", message, "--local-user", "other"),
		"two blocks":       g.sign("app1", message) + g.sign("app1", message),
		"text after":       g.sign("app1", message) + "x",
		"inline signature": string(g.run(message, "--local-user", "app1", "--armor", "--sign")),
		"clear signature":  string(g.run(message, "--local-user", "app1", "--clear-sign")),
		"weak hash":        weakHash(t, g.sign("app1", message, "--digest-algo", "SHA256")),
		"truncated":        g.sign("app1", message)[:120] + "\n-----END PGP SIGNATURE-----",
	} {
		if err := p.Verify(message, sig); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%s: %v, want ErrBadInput", name, err)
		}
	}
}

func expiredSignature(t *testing.T, g *gpg) string {
	t.Helper()
	past := time.Now().UTC().Add(-72 * time.Hour).Format("20060102T150405")
	g.run(nil, "--faked-system-time", past+"!", "--passphrase", "", "--quick-generate-key", "older", "ed25519", "sign", "never")
	sig := g.sign("older", message, "--faked-system-time", past+"!", "--default-sig-expire", "1d")
	if err := g.public("older").Verify(message, g.sign("older", message)); err != nil {
		t.Fatalf("the same key without expiry: %v", err)
	}
	if err := g.public("older").Verify(message, sig); !errors.Is(err, ErrSignature) {
		t.Errorf("expired signature: %v, want ErrSignature", err)
	}
	return sig
}

// weakHash relabels a SHA-256 signature as SHA-1: what counts is that it is
// refused before any cryptography.
func weakHash(t *testing.T, sig string) string {
	t.Helper()
	b, err := dearmor([]byte(sig))
	if err != nil {
		t.Fatal(err)
	}
	const hashAlgo = 2 + 3 // packet header, version, type, key algorithm
	if b[hashAlgo] != 8 {
		t.Fatalf("byte %d of the signature is %d, not SHA-256", hashAlgo, b[hashAlgo])
	}
	b[hashAlgo] = 2
	return armorSignature(t, b)
}

func TestGPGKeysRefused(t *testing.T) {
	g := newGPG(t)
	g.generate("rsa", "rsa2048", "")
	g.generate("curve", "nistp256", "")
	g.generate("one", "ed25519", "")
	g.generate("two", "ed25519", "")
	past := time.Now().UTC().Add(-72*time.Hour).Format("20060102T150405") + "!"
	g.run(nil, "--faked-system-time", past, "--passphrase", "", "--quick-generate-key", "expired", "ed25519", "sign", "1d")
	g.generate("revoked", "ed25519", "")
	revoke(t, g, "revoked")
	g.run(nil, "--passphrase", "", "--quick-generate-key", "certonly", "ed25519", "cert", "never")

	for name, c := range map[string]struct{ key, says string }{
		"empty":       {"", "empty input"},
		"blank":       {" \n\t\n", "empty input"},
		"garbage":     {"hello", "neither an armored OpenPGP key"},
		"rsa":         {string(g.export("rsa")), "not Ed25519"},
		"ecdsa":       {string(g.export("curve")), "not Ed25519"},
		"two keys":    {string(g.run(nil, "--armor", "--export", "one", "two")), "more than one key"},
		"two blocks":  {string(g.export("one")) + string(g.export("two")), "more than one armored block"},
		"expired":     {string(g.export("expired")), "expired"},
		"revoked":     {string(g.export("revoked")), "revoked"},
		"certify":     {string(g.export("certonly")), "no Ed25519 key in it may sign"},
		"private":     {string(g.run(nil, "--armor", "--passphrase", "", "--export-secret-keys", "one")), "private key"},
		"signature":   {g.sign("one", message), "malformed PEM"},
		"cut":         {string(g.export("one"))[:200], "damaged"},
		"oversized":   {string(g.export("one")) + strings.Repeat("\n", maxInput), "longer than"},
		"binary":      {string(g.run(nil, "--export", "one")), "gpg --armor --export"},
		"ssh rsa":     {"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ== x", "ssh-ed25519"},
		"ssh garbage": {"ssh-ed25519 AAAA", "malformed"},
		"ssh lines":   {"ssh-ed25519 AAAA\nssh-ed25519 AAAA", "more than one line"},
		"pem garbage": {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "malformed"},
		"degenerate":  {degenerate(), "degenerate"},
	} {
		_, err := ParsePublic([]byte(c.key))
		if !errors.Is(err, efs.ErrBadInput) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want ErrBadInput that says %q", name, err, c.says)
		}
	}
}

// revoke applies the revocation certificate that gpg made with the key.
func revoke(t *testing.T, g *gpg, name string) {
	t.Helper()
	fpr := g.fingerprint(name)
	home := strings.TrimPrefix(g.env[0], "GNUPGHOME=")
	cert := run(t, nil, nil, "sed", "s/^:---/---/", home+"/openpgp-revocs.d/"+fpr+".rev")
	g.run(cert, "--import")
}

// A key that was good when it was given stops working when it is revoked or
// expires, without being given again.
func TestExpiryIsJudgedAtUse(t *testing.T) {
	g := newGPG(t)
	g.run(nil, "--passphrase", "", "--quick-generate-key", "soon", "ed25519", "sign", "1d")
	p := g.public("soon")
	sig := g.sign("soon", message)
	if err := p.Verify(message, sig); err != nil {
		t.Fatal(err)
	}
	now = func() time.Time { return time.Now().Add(48 * time.Hour) }
	defer func() { now = time.Now }()
	if err := p.Verify(message, sig); !errors.Is(err, ErrSignature) {
		t.Errorf("after expiry: %v, want ErrSignature", err)
	}
	if err := p.Usable(); !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("Usable after expiry: %v", err)
	}
	if _, err := ReadPublic(p.Marshal()); err != nil {
		t.Errorf("ReadPublic of an expired key: %v", err)
	}
}

func TestSigningSubkeys(t *testing.T) {
	g := newGPG(t)
	g.run(nil, "--passphrase", "", "--quick-generate-key", "app1", "ed25519", "cert", "never")
	fpr := g.fingerprint("app1")
	g.run(nil, "--passphrase", "", "--quick-add-key", fpr, "ed25519", "sign", "never")
	g.run(nil, "--passphrase", "", "--quick-add-key", fpr, "ed25519", "sign", "never")
	g.run(nil, "--passphrase", "", "--quick-add-key", fpr, "cv25519", "encr", "never")
	p := g.public("app1")
	var subkeys []string
	for line := range strings.Lines(string(g.run(nil, "--with-colons", "--list-keys", "app1"))) {
		if f := strings.Split(line, ":"); f[0] == "sub" && strings.Contains(f[11], "s") {
			subkeys = append(subkeys, f[4])
		}
	}
	if len(subkeys) != 2 {
		t.Fatalf("signing subkeys: %v", subkeys)
	}
	for _, id := range subkeys {
		if err := p.Verify(message, g.sign(id+"!", message)); err != nil {
			t.Errorf("subkey %s: %v", id, err)
		}
	}
	if p.Fingerprint() != fpr {
		t.Errorf("fingerprint %s, gpg says %s", p.Fingerprint(), fpr)
	}

	// The primary key's private half kept elsewhere: gpg exports a stub.
	file := write(t, g.run(nil, "--passphrase", "", "--export-secret-subkeys", "app1"))
	s, err := LoadSigner(file, nil)
	if err != nil {
		t.Fatalf("subkeys alone: %v", err)
	}
	sig, err := s.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(message, sig); err != nil {
		t.Errorf("signed with an exported subkey: %v", err)
	}
}

func TestGPGHashesAreThoseOfTheBinaryExport(t *testing.T) {
	g := newGPG(t)
	g.generate("app1", "ed25519", "")
	sum := sha256.Sum256(g.run(nil, "--export", "app1"))
	a, b, c := g.public("app1").Hashes()
	if a != hex.EncodeToString(sum[:]) || len(b) != 40 || len(c) != 32 {
		t.Errorf("hashes %s %s %s, want sha256 %x", a, b, c, sum)
	}
}

// Keys that EFS makes are keys that gpg takes, and the other way round.
func TestGenerateAndLoad(t *testing.T) {
	private, pub, err := Generate("app1")
	if err != nil {
		t.Fatal(err)
	}
	g := newGPG(t)
	g.run(private, "--import")
	if err := pub.Verify(message, g.sign("app1", message)); err != nil {
		t.Errorf("gpg signing with a generated key: %v", err)
	}
	s, err := LoadSigner(write(t, private), nil)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	if err := pub.Verify(message, sig); err != nil {
		t.Error(err)
	}
	signed, detached := write(t, message), write(t, []byte(sig))
	g.run(nil, "--verify", detached, signed)
	if !bytes.Equal(s.Public().Marshal(), pub.Marshal()) {
		t.Error("the signer's public key is not the one generated")
	}
}

func TestGPGPassphrase(t *testing.T) {
	g := newGPG(t)
	g.generate("app1", "ed25519", "correct horse")
	p := g.public("app1")
	asked := 0
	pass := func(answer string) func(string) ([]byte, error) {
		return func(prompt string) ([]byte, error) {
			asked++
			if !strings.Contains(prompt, "Passphrase for ") {
				t.Errorf("prompt %q", prompt)
			}
			return []byte(answer), nil
		}
	}
	for _, form := range [][]string{{"--armor"}, {}} {
		file := write(t, g.run(nil, append(form, "--passphrase", "correct horse", "--export-secret-keys", "app1")...))
		s, err := LoadSigner(file, pass("correct horse"))
		if err != nil {
			t.Fatalf("%v: %v", form, err)
		}
		sig, err := s.Sign(message)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Verify(message, sig); err != nil {
			t.Error(err)
		}
		if _, err := LoadSigner(file, pass("wrong")); !errors.Is(err, efs.ErrWrongKey) {
			t.Errorf("wrong passphrase: %v", err)
		}
		if _, err := LoadSigner(file, nil); !errors.Is(err, efs.ErrWrongKey) {
			t.Errorf("no passphrase: %v", err)
		}
	}
	if asked != 4 {
		t.Errorf("asked %d times, want once for each attempt", asked)
	}
}
