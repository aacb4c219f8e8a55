package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/efs-project/efs/internal/kdf"
	"github.com/efs-project/efs/internal/secret"
)

// Version is the version of the format of lines, their member "v".
const Version = 1

// What keys and signatures are bound to.
const (
	labelNext = "efs audit next\x00"
	labelHead = "efs audit head\x00"
)

// Lengths of base64 without padding.
const (
	hashText = 43 // of 32 bytes
	signText = 86 // of 64 bytes
)

// link is a place in the chain: what the next line needs of those before it.
type link struct {
	seq  uint64            // of the next line, from 1
	prev [sha256.Size]byte // SHA-256 of the last line, its end included; zero before the first
}

var (
	encoding    = base64.RawStdEncoding.Strict()
	encodingStd = base64.StdEncoding
)

// appendLine makes the next line of the chain from the members of an event,
// and replaces key by its successor. signer is nil for lines that are not
// signed.
func (l *link) appendLine(b, body []byte, key *secret.Key, signer func(head []byte) []byte) ([]byte, error) {
	start := len(b)
	b = append(b, `{"v":1,"seq":`...)
	b = strconv.AppendUint(b, l.seq, 10)
	b = append(b, ',')
	b = append(b, body...)
	b = append(b, `,"prev":"`...)
	b = encoding.AppendEncode(b, l.prev[:])
	if signer != nil {
		sig := signer(b[start:])
		b = append(b, `","sig":"`...)
		b = encoding.AppendEncode(b, sig)
	}
	var mac [kdf.Size]byte
	err := key.Update(func(k []byte) {
		mac = kdf.MAC(k, b[start:], nil)
		next(k)
	})
	if err != nil {
		return b[:start], fmt.Errorf("the key of the audit log: %w", err)
	}
	b = append(b, `","mac":"`...)
	b = encoding.AppendEncode(b, mac[:])
	b = append(b, "\"}\n"...)
	l.prev = sha256.Sum256(b[start:])
	l.seq++
	return b, nil
}

// next replaces a key by its successor. There is no way back.
func next(key []byte) {
	k := kdf.MAC(key, []byte(labelNext), nil)
	copy(key, k[:])
	clear(k[:])
}

// skip replaces a key by the one n lines on.
func skip(key *secret.Key, n uint64) error {
	return key.Update(func(k []byte) {
		for range n {
			next(k)
		}
	})
}

// signed is what a head's signature is over.
func signed(head []byte) []byte { return append([]byte(labelHead), head...) }

// sign signs the beginning of a line, up to the text of its prev.
func sign(seed *secret.Key) func(head []byte) []byte {
	return func(head []byte) (sig []byte) {
		err := seed.With(func(b []byte) { sig = ed25519.Sign(ed25519.NewKeyFromSeed(b), signed(head)) })
		if err != nil {
			return make([]byte, ed25519.SignatureSize) // verifies under no key; appendLine fails with the same error
		}
		return sig
	}
}

// public returns the public key of a seed.
func public(seed *secret.Key) (p ed25519.PublicKey, err error) {
	err = seed.With(func(b []byte) { p = ed25519.NewKeyFromSeed(b).Public().(ed25519.PublicKey) })
	return p, err
}
