package userkey

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"sync"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/efs-project/efs"
)

// pgpSigner signs with one key of an OpenPGP entity.
type pgpSigner struct {
	pub    *Public
	mu     sync.Mutex // the library caches verdicts inside an entity
	entity *openpgp.Entity
	keyID  uint64
}

func (s *pgpSigner) Public() *Public { return s.pub }

func (s *pgpSigner) Sign(message []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	config := pgpConfig()
	config.SigningKeyId = s.keyID
	config.DefaultHash = crypto.SHA512
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.SignatureType, nil)
	if err != nil {
		return "", fmt.Errorf("signing with an OpenPGP key: %w", err)
	}
	if err := openpgp.DetachSign(w, []*openpgp.Entity{s.entity}, bytes.NewReader(message), config); err != nil {
		return "", fmt.Errorf("signing with an OpenPGP key: %w", err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("signing with an OpenPGP key: %w", err)
	}
	return out.String(), nil
}

// openPGPSigner takes the first usable signing key whose private half is in
// the file: people keep primary keys elsewhere and export only subkeys.
func openPGPSigner(binary []byte, ask func() ([]byte, error)) (Signer, error) {
	entity, err := readEntity(binary)
	if err != nil {
		return nil, err
	}
	if entity.PrivateKey == nil {
		return nil, bad("an OpenPGP public key; the private one is needed to sign (gpg --export-secret-keys)")
	}
	for _, key := range signingKeys(entity, now()) {
		if key.PrivateKey == nil || key.PrivateKey.Dummy() {
			continue
		}
		if err := unlock(key.PrivateKey, ask); err != nil {
			return nil, err
		}
		pub, err := publicOf(entity)
		if err != nil {
			return nil, err
		}
		return &pgpSigner{pub: pub, entity: entity, keyID: key.PublicKey.KeyId}, nil
	}
	p := &Public{kind: OpenPGP, entity: entity}
	if err := p.usableOpenPGP(); err != nil {
		return nil, err
	}
	return nil, bad("OpenPGP key: the private half of its signing key is not in this file")
}

func unlock(key *packet.PrivateKey, ask func() ([]byte, error)) error {
	if !key.Encrypted {
		return nil
	}
	pass, err := ask()
	if err != nil {
		return err
	}
	defer clear(pass)
	if err := key.Decrypt(pass); err != nil {
		return fmt.Errorf("wrong passphrase: %w", efs.ErrWrongKey)
	}
	return nil
}

// publicOf returns the public half of entity.
func publicOf(entity *openpgp.Entity) (*Public, error) {
	text, err := armored(openpgp.PublicKeyType, entity.Serialize)
	if err != nil {
		return nil, err
	}
	return ParsePublic(text)
}

func armored(kind string, write func(w io.Writer) error) ([]byte, error) {
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	if err == nil {
		err = write(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encoding an OpenPGP key: %w", err)
	}
	return append(out.Bytes(), '\n'), nil
}

// Generate makes an OpenPGP key for name, without a passphrase, in the form
// that gpg 2.1 and later imports (version 4, EdDSA). private is armored; it is
// as secret as the data it opens.
func Generate(name string) (private []byte, pub *Public, err error) {
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Curve: packet.Curve25519, DefaultHash: crypto.SHA512}
	entity, err := openpgp.NewEntity(name, "", "", config)
	if err != nil {
		return nil, nil, bad("making a key for %q: %v", name, err)
	}
	private, err = armored(openpgp.PrivateKeyType, func(w io.Writer) error { return entity.SerializePrivateWithoutSigning(w, nil) })
	if err != nil {
		return nil, nil, err
	}
	pub, err = publicOf(entity)
	return private, pub, err
}
