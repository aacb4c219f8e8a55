// Package kdf is HMAC-SHA-256 (RFC 2104) and HKDF-SHA-256 (RFC 5869) for keys
// and messages that are short.
//
// A request derives half a dozen keys, and crypto/hmac and crypto/hkdf allocate
// five times for each MAC. These functions keep everything on the stack, where
// sha256.New stays when its type is known to the compiler: half the time, and
// nothing for the garbage collector.
package kdf

import (
	"crypto/sha256"
	"crypto/subtle"
)

// Size is the length of every MAC and every derived key, bytes.
const Size = sha256.Size

// MAC returns HMAC-SHA-256(key, a ‖ b).
func MAC(key, a, b []byte) (sum [Size]byte) {
	const inner, outer = 0x36, 0x5c
	var pad [sha256.BlockSize]byte
	defer clear(pad[:])
	if len(key) > len(pad) {
		short := sha256.Sum256(key)
		defer clear(short[:])
		key = short[:]
	}
	for i := range pad {
		pad[i] = inner
	}
	subtle.XORBytes(pad[:], pad[:], key)
	h := sha256.New()
	h.Write(pad[:])
	h.Write(a)
	h.Write(b)
	h.Sum(sum[:0])
	for i := range pad {
		pad[i] ^= inner ^ outer
	}
	h = sha256.New()
	h.Write(pad[:])
	h.Write(sum[:])
	h.Sum(sum[:0])
	return sum
}

// Extract is HKDF-Extract: a key that is as good as secret.
func Extract(secret, salt []byte) [Size]byte { return MAC(salt, secret, nil) }

// Expand is HKDF-Expand to one block, the key for the purpose info.
func Expand(key *[Size]byte, info []byte) [Size]byte {
	return MAC(key[:], info, []byte{1})
}

// HKDF is Extract and Expand.
func HKDF(secret, salt, info []byte) [Size]byte {
	prk := Extract(secret, salt)
	defer clear(prk[:])
	return Expand(&prk, info)
}
