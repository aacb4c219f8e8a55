// Package userkey reads users' public keys, checks what they sign, and signs
// with their private keys. A user's key is Ed25519 in one of three dresses:
// an OpenPGP key, an OpenSSH key, or a bare key in PEM (PKIX).
//
// Signatures come in three forms: an armored OpenPGP detached signature by an
// OpenPGP key; an SSH signature with namespace "efs", or the base64 of a raw
// Ed25519 signature, by one of the others.
package userkey

import (
	"bytes"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"sync"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/crypto/ssh"

	"github.com/efs-project/efs"
)

// Kind is the dress of a key.
type Kind string

// The kinds of key.
const (
	OpenPGP Kind = "openpgp"
	SSH     Kind = "ssh"
	Raw     Kind = "raw"
)

// Namespace is the SSH signature namespace of EFS: ssh-keygen -Y sign -n efs.
const Namespace = "efs"

// MaxKeys is how many keys a user may have: a raw signature does not tell which
// key made it, and all are tried.
const MaxKeys = 8

// maxInput bounds key files, bytes.
const maxInput = 64 << 10

// maxSignature bounds a signature, bytes, alone and within a key. An OpenPGP
// signature may embed another, and so on: the memory for reading one grows
// with the square of its length, and whoever wants to sign in chooses it. The
// three forms take a few hundred bytes.
const maxSignature = 4 << 10

// Public is a user's public key. It is safe for concurrent use.
type Public struct {
	kind   Kind
	text   []byte // as given, trimmed, with one newline at its end
	binary []byte // the canonical form that hashes cover

	plain ed25519.PublicKey // SSH and Raw

	mu     sync.Mutex // the library caches verdicts inside an entity
	entity *openpgp.Entity
}

// ParsePublic reads one public key: an armored OpenPGP key with a usable
// Ed25519 signing key, an "ssh-ed25519 …" line, or a PEM Ed25519 public key.
// Everything else (empty input, several keys, private keys, other algorithms,
// expired or revoked keys) is an efs.ErrBadInput that says what is wrong.
func ParsePublic(b []byte) (*Public, error) {
	p, err := ReadPublic(b)
	if err != nil {
		return nil, err
	}
	return p, p.Usable()
}

// ReadPublic is ParsePublic for a key that was accepted before: it may have
// expired or been revoked since, which Usable and Verify tell.
func ReadPublic(b []byte) (*Public, error) {
	text := bytes.TrimSpace(b)
	switch {
	case len(text) == 0:
		return nil, bad("public key: empty input")
	case len(b) > maxInput:
		return nil, bad("public key: longer than %d bytes; export only this key, with --export-options export-minimal", maxInput)
	case bytes.Contains(text, []byte("PRIVATE KEY")):
		return nil, bad("public key: this is a private key, which must never be given away; export the public one (gpg --armor --export, or the .pub file)")
	case bytes.HasPrefix(text, []byte(beginPGPPublic)):
		return parseOpenPGP(text)
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return parsePEM(text)
	case bytes.HasPrefix(text, []byte(ssh.KeyAlgoED25519+" ")):
		return parseSSH(text)
	case bytes.HasPrefix(text, []byte("ssh-")), bytes.HasPrefix(text, []byte("ecdsa-")), bytes.HasPrefix(text, []byte("sk-")):
		return nil, bad("public key: an SSH key of another kind; EFS takes ssh-ed25519 (ssh-keygen -t ed25519)")
	}
	return nil, bad("public key: neither an armored OpenPGP key (gpg --armor --export), an ssh-ed25519 line, nor a PEM Ed25519 public key")
}

func parseSSH(text []byte) (*Public, error) {
	if bytes.ContainsAny(text, "\n\r") {
		return nil, bad("public key: more than one line; give one ssh-ed25519 line")
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, bad("public key: malformed ssh-ed25519 line")
	}
	return newSSH(key, text)
}

// newSSH wraps an SSH key that was written as text.
func newSSH(key ssh.PublicKey, text []byte) (*Public, error) {
	key, err := ssh.ParsePublicKey(key.Marshal()) // an agent's keys show only their wire form
	if err != nil {
		return nil, bad("public key: malformed SSH key")
	}
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok || key.Type() != ssh.KeyAlgoED25519 {
		return nil, bad("public key: an SSH key of type %s; EFS takes ssh-ed25519 (ssh-keygen -t ed25519)", key.Type())
	}
	plain, err := checkPlain(c.CryptoPublicKey())
	if err != nil {
		return nil, err
	}
	return &Public{kind: SSH, text: withNewline(text), binary: key.Marshal(), plain: plain}, nil
}

func parsePEM(text []byte) (*Public, error) {
	block, rest := pem.Decode(text)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, bad("public key: malformed PEM, or more than one block")
	}
	if block.Type != "PUBLIC KEY" {
		return nil, bad("public key: PEM block is a %q, not a PUBLIC KEY", block.Type)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, bad("public key: malformed PEM public key")
	}
	plain, err := checkPlain(key)
	if err != nil {
		return nil, err
	}
	return &Public{kind: Raw, text: withNewline(text), binary: block.Bytes, plain: plain}, nil
}

// newRaw wraps a bare key.
func newRaw(key ed25519.PublicKey) (*Public, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a public key: %w", err)
	}
	return parsePEM(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Kind returns the dress of the key.
func (p *Public) Kind() Kind { return p.kind }

// Marshal returns the key as it was given. ParsePublic reads it again.
func (p *Public) Marshal() []byte { return bytes.Clone(p.text) }

// Hashes returns SHA-256, SHA-1 and MD5, in hex, of the key's binary form, for
// comparing a key over another channel. The binary form is, for OpenPGP, the
// armored bytes without the armor (gpg --dearmor < key.asc | sha256sum); for
// SSH, the blob in the line's second field; for PEM, the DER inside. SHA-1 and
// MD5 are there for people with old tools; nothing in EFS relies on them.
func (p *Public) Hashes() (sha256Hex, sha1Hex, md5Hex string) {
	a, b, c := sha256.Sum256(p.binary), sha1.Sum(p.binary), md5.Sum(p.binary)
	return hex.EncodeToString(a[:]), hex.EncodeToString(b[:]), hex.EncodeToString(c[:])
}

// Fingerprint names the key the way its own tools do: the OpenPGP fingerprint
// in upper-case hex (gpg --fingerprint), "SHA256:…" for SSH (ssh-keygen -l),
// "sha256:" and the hex SHA-256 of the DER form for PEM keys.
func (p *Public) Fingerprint() string {
	switch p.kind {
	case OpenPGP:
		return fmt.Sprintf("%X", p.entity.PrimaryKey.Fingerprint)
	case SSH:
		key, err := ssh.NewPublicKey(p.plain)
		if err == nil {
			return ssh.FingerprintSHA256(key)
		}
	}
	sum := sha256.Sum256(p.binary)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Usable is nil while the key can make signatures that Verify accepts; an
// OpenPGP key ends by expiry or revocation, which its own packets tell.
func (p *Public) Usable() error {
	if p.kind != OpenPGP {
		return nil
	}
	return p.usableOpenPGP()
}

// checkPlain accepts Ed25519 keys, except those of small order, under which
// one signature can be valid for any message.
func checkPlain(key any) (ed25519.PublicKey, error) {
	plain, ok := key.(ed25519.PublicKey)
	if !ok || len(plain) != ed25519.PublicKeySize {
		return nil, bad("public key: not Ed25519")
	}
	if smallOrder(plain) {
		return nil, bad("public key: a degenerate Ed25519 point; make a new key")
	}
	return plain, nil
}

func withNewline(text []byte) []byte { return append(bytes.Clone(bytes.TrimSpace(text)), '\n') }

func bad(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, efs.ErrBadInput)...)
}
