package userkey

import (
	"bytes"
	"crypto"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

const (
	beginPGPPublic    = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	beginPGPSignature = "-----BEGIN PGP SIGNATURE-----"
)

// maxPackets bounds the packets of one OpenPGP key.
const maxPackets = 512

// tagSignature is the type of signature packets (RFC 9580, 5).
const tagSignature = 2

// parseOpenPGP reads an armored block with exactly one key.
func parseOpenPGP(text []byte) (*Public, error) {
	if bytes.Count(text, []byte("-----BEGIN ")) != 1 {
		return nil, bad("public key: more than one armored block; give one key")
	}
	binary, err := dearmor(text)
	if err != nil {
		return nil, bad("public key: damaged armor; export it again with gpg --armor --export")
	}
	entity, err := readEntity(binary)
	if err != nil {
		return nil, err
	}
	return &Public{kind: OpenPGP, text: withNewline(text), binary: binary, entity: entity}, nil
}

func dearmor(text []byte) ([]byte, error) {
	block, err := armor.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(block.Body, maxInput))
}

// readEntity reads exactly one key, public or private.
func readEntity(binary []byte) (*openpgp.Entity, error) {
	packets := packet.NewOpaqueReader(bytes.NewReader(binary))
	for n := 0; ; n++ {
		p, err := packets.Next()
		if err == io.EOF {
			break
		}
		if err != nil || n > maxPackets {
			return nil, bad("OpenPGP key: damaged, or of absurd size; export it again")
		}
		if p.Tag == tagSignature && len(p.Contents) > maxSignature {
			return nil, bad("OpenPGP key: a signature in it is longer than %d bytes; export it with --export-options export-minimal", maxSignature)
		}
	}
	r := packet.NewReader(bytes.NewReader(binary))
	entity, err := openpgp.ReadEntity(r)
	if err != nil {
		return nil, bad("OpenPGP key: cannot be read (%v)", err)
	}
	if p, err := r.Next(); p != nil || err != io.EOF {
		return nil, bad("OpenPGP key: more than one key; export only one, by its fingerprint")
	}
	return entity, nil
}

// ed25519Key reports whether pk is Ed25519 in either of its OpenPGP dresses.
func ed25519Key(pk *packet.PublicKey) bool {
	if pk.PubKeyAlgo == packet.PubKeyAlgoEd25519 {
		return true
	}
	curve, err := pk.Curve()
	return pk.PubKeyAlgo == packet.PubKeyAlgoEdDSA && err == nil && curve == packet.Curve25519
}

// signingKeys returns the Ed25519 keys of entity that may sign at time t,
// subkeys first.
func signingKeys(entity *openpgp.Entity, t time.Time) []openpgp.Key {
	all := make([]*packet.PublicKey, 0, len(entity.Subkeys)+1)
	for i := range entity.Subkeys {
		all = append(all, entity.Subkeys[i].PublicKey)
	}
	all = append(all, entity.PrimaryKey)
	var keys []openpgp.Key
	for _, pk := range all {
		if !ed25519Key(pk) {
			continue
		}
		if key, ok := entity.SigningKeyById(t, pk.KeyId, pgpConfig()); ok && key.PublicKey == pk {
			keys = append(keys, key)
		}
	}
	return keys
}

func pgpConfig() *packet.Config { return &packet.Config{Time: now} }

// usableOpenPGP says why the key cannot sign, if it cannot.
func (p *Public) usableOpenPGP() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(signingKeys(p.entity, now())) > 0 {
		return nil
	}
	_, err := p.entity.VerifyPrimaryKey(now(), pgpConfig())
	switch {
	case err == pgperrors.ErrKeyRevoked:
		return bad("OpenPGP key: it is revoked; make a new one")
	case err == pgperrors.ErrKeyExpired:
		return bad("OpenPGP key: it is expired; extend it (gpg --quick-set-expire) and export it again, or make a new one")
	case err != nil:
		return bad("OpenPGP key: its self-signature does not hold")
	}
	if !slices.ContainsFunc(p.entity.Subkeys, func(s openpgp.Subkey) bool { return ed25519Key(s.PublicKey) }) && !ed25519Key(p.entity.PrimaryKey) {
		return bad("OpenPGP key: not Ed25519; make one with gpg --quick-generate-key NAME ed25519 sign")
	}
	return bad("OpenPGP key: no Ed25519 key in it may sign now (not for signing, expired or revoked); add a signing subkey with gpg --quick-add-key FINGERPRINT ed25519 sign, and export it again")
}

// verifyOpenPGP checks an armored detached signature. Which key it claims to
// be made by decides which one is tried, so that one key is tried always.
func verifyOpenPGP(keys []*Public, message []byte, s string) error {
	binary, err := signaturePacket(s)
	if err != nil {
		return err
	}
	sig, err := parseSignature(binary)
	if err != nil {
		return err
	}
	known := true
	signer := claimedSigner(keys, sig)
	if signer == nil {
		signer, known = nobodyOpenPGP[sig.PubKeyAlgo](), false
	}
	pk := signer.signingKey(sig, known)
	if pk == nil {
		pk, known = nobodyOpenPGP[sig.PubKeyAlgo]().entity.PrimaryKey, false
	}
	found := false
	for _, text := range variants(message) {
		if verifyPacket(pk, sig, text) {
			found = true
		}
	}
	if !found || !known || signatureExpired(sig) {
		return ErrSignature
	}
	return nil
}

// claimedSigner returns the key among keys that the signature names.
func claimedSigner(keys []*Public, sig *packet.Signature) *Public {
	for _, k := range keys {
		if k.kind != OpenPGP {
			continue
		}
		for i := range k.entity.Subkeys {
			if sig.CheckKeyIdOrFingerprint(k.entity.Subkeys[i].PublicKey) {
				return k
			}
		}
		if sig.CheckKeyIdOrFingerprint(k.entity.PrimaryKey) {
			return k
		}
	}
	return nil
}

// signingKey returns the key that the signature names, if it may sign now and
// is of the signature's algorithm; a stand-in (named false) has only one.
func (p *Public) signingKey(sig *packet.Signature, named bool) *packet.PublicKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range signingKeys(p.entity, now()) {
		if key.PublicKey.PubKeyAlgo == sig.PubKeyAlgo && (!named || sig.CheckKeyIdOrFingerprint(key.PublicKey)) {
			return key.PublicKey
		}
	}
	return nil
}

func verifyPacket(pk *packet.PublicKey, sig *packet.Signature, text []byte) bool {
	verifications.Add(1)
	h, err := sig.PrepareVerify()
	if err != nil {
		return false
	}
	w := h
	if sig.SigType == packet.SigTypeText {
		w = openpgp.NewCanonicalTextHash(h)
	}
	w.Write(text)
	return pk.VerifySignature(h, sig) == nil
}

// signatureExpired reports whether the signature limited its own life and that
// is over. A time of signing in the future is no failure: the nonce says that
// the signature is fresh, and clients' clocks differ.
func signatureExpired(sig *packet.Signature) bool {
	if sig.SigLifetimeSecs == nil || *sig.SigLifetimeSecs == 0 {
		return false
	}
	return now().After(sig.CreationTime.Add(time.Duration(*sig.SigLifetimeSecs) * time.Second))
}

// signaturePacket returns the one packet of an armored signature.
func signaturePacket(s string) (*packet.OpaquePacket, error) {
	if strings.Count(s, "-----BEGIN ") != 1 || !strings.HasSuffix(s, "-----END PGP SIGNATURE-----") {
		return nil, bad("signature: not one armored block; send exactly what gpg --armor --detach-sign prints")
	}
	binary, err := dearmor([]byte(s))
	if err != nil {
		return nil, bad("signature: damaged armor")
	}
	r := packet.NewOpaqueReader(bytes.NewReader(binary))
	p, err := r.Next()
	if err != nil || p.Tag != tagSignature {
		return nil, bad("signature: no OpenPGP signature in the armor; use gpg --armor --detach-sign")
	}
	if _, err := r.Next(); err != io.EOF {
		return nil, bad("signature: more than one; sign with exactly one key")
	}
	return p, nil
}

// parseSignature reads a signature over a document by an Ed25519 key with a
// strong hash, and refuses every other kind.
func parseSignature(binary *packet.OpaquePacket) (*packet.Signature, error) {
	p, err := binary.Parse()
	sig, ok := p.(*packet.Signature)
	if err != nil || !ok {
		return nil, bad("signature: damaged or unsupported OpenPGP signature")
	}
	switch {
	case nobodyOpenPGP[sig.PubKeyAlgo] == nil:
		return nil, bad("signature: not made by an Ed25519 key")
	case sig.Version != 4 && sig.Version != 6:
		return nil, bad("signature: OpenPGP signature of version %d; 4 and 6 are accepted", sig.Version)
	case sig.SigType != packet.SigTypeBinary && sig.SigType != packet.SigTypeText:
		return nil, bad("signature: not a signature over a document; use gpg --armor --detach-sign")
	case !slices.Contains([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}, sig.Hash):
		return nil, bad("signature: weak hash; use gpg --digest-algo SHA512")
	}
	for _, n := range sig.Notations {
		if n.IsCritical {
			return nil, bad("signature: critical notation that EFS does not know")
		}
	}
	return sig, nil
}
