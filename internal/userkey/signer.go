package userkey

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/efs-project/efs"
)

// Signer signs messages with a user's private key.
type Signer interface {
	// Sign returns a signature over message in one of the forms Verify takes.
	Sign(message []byte) (signature string, err error)
	// Public returns the public half.
	Public() *Public
}

// LoadSigner reads a private key file: an OpenPGP secret key, armored or
// binary (gpg --export-secret-keys), an OpenSSH private key, or an unencrypted
// PKCS#8 PEM Ed25519 key. passphrase is called once if the key is protected,
// with a prompt to show; nil means that nobody can be asked. What it returns is
// wiped. A wrong passphrase is efs.ErrWrongKey, a file that is no such key
// efs.ErrBadInput.
func LoadSigner(file string, passphrase func(prompt string) ([]byte, error)) (Signer, error) {
	b, err := readKeyFile(file)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	ask := func() ([]byte, error) {
		if passphrase == nil {
			return nil, fmt.Errorf("%s is protected by a passphrase, and none was given: %w", file, efs.ErrWrongKey)
		}
		return passphrase(fmt.Sprintf("Passphrase for %s: ", file))
	}
	s, err := parseSigner(b, ask)
	if err != nil {
		return nil, fmt.Errorf("reading private key %s: %w", file, err)
	}
	return s, nil
}

func readKeyFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading private key: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("reading private key: %w", err)
	}
	if len(b) > maxInput {
		clear(b)
		return nil, bad("reading private key %s: longer than %d bytes", file, maxInput)
	}
	return b, nil
}

func parseSigner(b []byte, ask func() ([]byte, error)) (Signer, error) {
	text := bytes.TrimSpace(b)
	switch {
	case len(text) == 0:
		return nil, bad("empty file")
	case bytes.HasPrefix(text, []byte("-----BEGIN PGP PRIVATE KEY BLOCK-----")):
		binary, err := dearmor(text)
		if err != nil {
			return nil, bad("damaged armor")
		}
		defer clear(binary)
		return openPGPSigner(binary, ask)
	case bytes.HasPrefix(text, []byte("-----BEGIN OPENSSH PRIVATE KEY-----")):
		return sshFileSigner(text, ask)
	case bytes.HasPrefix(text, []byte("-----BEGIN PRIVATE KEY-----")):
		return pkcs8Signer(text)
	case bytes.HasPrefix(text, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----")):
		return nil, bad("encrypted PKCS#8 is not supported; use an OpenPGP or OpenSSH key for a passphrase")
	case bytes.HasPrefix(text, []byte(beginPGPPublic)), bytes.HasPrefix(text, []byte("ssh-")), bytes.HasPrefix(text, []byte("-----BEGIN PUBLIC KEY-----")):
		return nil, bad("a public key; the private one is needed to sign")
	case b[0]&0x80 != 0: // an OpenPGP packet header (RFC 9580 4.2)
		return openPGPSigner(b, ask)
	}
	return nil, bad("neither an OpenPGP, OpenSSH nor PKCS#8 private key")
}

// sshSigner signs with an SSH key, in memory or in an agent.
type sshSigner struct {
	pub  *Public
	sign func() (signer ssh.Signer, done func(), err error)
}

func (s *sshSigner) Public() *Public { return s.pub }

func (s *sshSigner) Sign(message []byte) (string, error) {
	signer, done, err := s.sign()
	if err != nil {
		return "", err
	}
	defer done()
	sig, err := sshsig.Sign(bytes.NewReader(message), signer, sshsig.HashSHA512, Namespace)
	if err != nil {
		return "", fmt.Errorf("signing with an SSH key: %w", err)
	}
	return string(sshsig.Armor(sig)), nil
}

func sshFileSigner(text []byte, ask func() ([]byte, error)) (Signer, error) {
	signer, err := ssh.ParsePrivateKey(text)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		pass, askErr := ask()
		if askErr != nil {
			return nil, askErr
		}
		defer clear(pass)
		signer, err = ssh.ParsePrivateKeyWithPassphrase(text, pass)
		if errors.Is(err, x509.IncorrectPasswordError) {
			return nil, fmt.Errorf("wrong passphrase: %w", efs.ErrWrongKey)
		}
	}
	if err != nil {
		return nil, bad("damaged OpenSSH private key")
	}
	pub, err := newSSH(signer.PublicKey(), bytes.TrimSpace(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	if err != nil {
		return nil, err
	}
	return &sshSigner{pub: pub, sign: func() (ssh.Signer, func(), error) { return signer, func() {}, nil }}, nil
}

// rawSigner signs with a bare Ed25519 key.
type rawSigner struct {
	pub *Public
	key ed25519.PrivateKey
}

func (s *rawSigner) Public() *Public { return s.pub }

func (s *rawSigner) Sign(message []byte) (string, error) {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(s.key, message)), nil
}

func pkcs8Signer(text []byte) (Signer, error) {
	block, rest := pem.Decode(text)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, bad("malformed PEM, or more than one block")
	}
	defer clear(block.Bytes)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, bad("not an Ed25519 key in PKCS#8")
	}
	pub, err := newRaw(key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	return &rawSigner{pub: pub, key: key}, nil
}
