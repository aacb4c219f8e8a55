package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"sync"
)

// The sizes of XAES-256-GCM, in bytes.
const (
	keySize   = 32
	nonceSize = 24
	tagSize   = 16
)

// xaes is XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM under a key that
// is derived, by the counter KDF of NIST SP 800-108r1 over AES-CMAC, from a
// 256-bit key and the first half of a 192-bit nonce. Nonces may be random for
// 2^80 messages, which an index under one key for many years asks for.
type xaes struct {
	block cipher.Block
	k1    [aes.BlockSize]byte // CMAC subkey K1, NIST SP 800-38B
}

func newXAES(key []byte) (*xaes, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	x := &xaes{block: block}
	block.Encrypt(x.k1[:], x.k1[:])
	msb := x.k1[0] >> 7
	for i := range x.k1 {
		var carry byte
		if i+1 < len(x.k1) {
			carry = x.k1[i+1] >> 7
		}
		x.k1[i] = x.k1[i]<<1 | carry
	}
	x.k1[len(x.k1)-1] ^= byte(subtle.ConstantTimeSelect(int(msb), 0x87, 0))
	return x, nil
}

// Room for derived keys, zeros between uses: passed to an interface it would
// else be allocated for every record.
var keyBufs = sync.Pool{New: func() any { return new([keySize]byte) }}

// aead returns AES-256-GCM under the key derived from the first half of nonce.
func (x *xaes) aead(nonce []byte) (cipher.AEAD, error) {
	key := keyBufs.Get().(*[keySize]byte)
	defer func() {
		clear(key[:])
		keyBufs.Put(key)
	}()
	for i := range 2 {
		half := key[i*aes.BlockSize : (i+1)*aes.BlockSize]
		half[1], half[2] = byte(i+1), 'X'
		copy(half[4:], nonce[:12])
		subtle.XORBytes(half, half, x.k1[:])
		x.block.Encrypt(half, half)
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal appends the sealed plaintext to dst. nonce must be 24 fresh bytes.
func (x *xaes) seal(dst, nonce, plaintext, ad []byte) ([]byte, error) {
	g, err := x.aead(nonce)
	if err != nil {
		return nil, err
	}
	return g.Seal(dst, nonce[12:], plaintext, ad), nil
}

// open appends the opened plaintext to dst.
func (x *xaes) open(dst, nonce, sealed, ad []byte) ([]byte, error) {
	g, err := x.aead(nonce)
	if err != nil {
		return nil, err
	}
	return g.Open(dst, nonce[12:], sealed, ad)
}
