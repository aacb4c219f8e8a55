package userkey

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"sync/atomic"
	"time"
)

// ErrSignature is a well-formed signature that none of the keys made over the
// message. It tells nothing more, on purpose.
var ErrSignature = errors.New("signature does not verify")

// now is the clock that OpenPGP keys and signatures are judged by.
var now = time.Now

var verifications atomic.Uint64

// Verifications counts the signature verifications that ran since the process
// started. An answer to a stranger must cost as many as one to a user.
func Verifications() uint64 { return verifications.Load() }

// Verify checks signature over message (Verify of the package, with one key).
func (p *Public) Verify(message []byte, signature string) error {
	return Verify([]*Public{p}, message, signature)
}

// Verify checks that one of keys made signature over message, or over message
// and one newline, which tools that work on text files add.
//
// A signature of none of the three forms is an efs.ErrBadInput that says why,
// whatever the keys; any other failure is ErrSignature. The work depends only
// on the signature: where no key fits it, keys of EFS's own, which nobody has
// the private half of, are put in their place. So callers ask about a user
// they do not know with no keys at all.
func Verify(keys []*Public, message []byte, signature string) error {
	s := strings.TrimSpace(signature)
	switch {
	case s == "":
		return bad("signature: empty")
	case len(signature) > maxSignature:
		return bad("signature: longer than %d bytes", maxSignature)
	case strings.HasPrefix(s, beginPGPSignature):
		return verifyOpenPGP(keys, message, s)
	case strings.HasPrefix(s, beginSSHSignature):
		return verifySSH(keys, message, s)
	case strings.HasPrefix(s, "-----BEGIN "):
		return bad("signature: a PEM block that is neither a PGP SIGNATURE nor an SSH SIGNATURE")
	}
	return verifyRaw(keys, message, s)
}

// variants are the texts a signature may cover.
func variants(message []byte) [2][]byte {
	return [2][]byte{message, append(message[:len(message):len(message)], '\n')}
}

func verifyRaw(keys []*Public, message []byte, s string) error {
	sig, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") || len(sig) != ed25519.SignatureSize {
		return bad("signature: neither an armored OpenPGP or SSH signature nor the base64 of 64 bytes (Ed25519)")
	}
	candidates := make([]ed25519.PublicKey, 0, MaxKeys)
	for _, k := range keys {
		if k.plain != nil && len(candidates) < MaxKeys {
			candidates = append(candidates, k.plain)
		}
	}
	for len(candidates) < MaxKeys {
		candidates = append(candidates, nobody())
	}
	found := false
	for _, key := range candidates {
		for _, text := range variants(message) {
			verifications.Add(1)
			found = ed25519.Verify(key, text, sig) || found
		}
	}
	if !found {
		return ErrSignature
	}
	return nil
}
