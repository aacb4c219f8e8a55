package userkey

import "crypto/ed25519"

// smallOrder reports whether key is one of the points of order 1, 2, 4 or 8 of
// edwards25519, in any encoding a verifier might take: the y coordinates 0, 1,
// -1 and the two of order 8, also plus p, with either sign bit (RFC 8032 5.1.3;
// Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs", 2020, table 1).
func smallOrder(key ed25519.PublicKey) bool {
	var y [32]byte
	copy(y[:], key)
	y[31] &= 0x7f
	for _, small := range smallOrderY {
		if y == small {
			return true
		}
	}
	return false
}

// p is 2^255 - 19, little endian.
var fieldPrime = func() (p [32]byte) {
	for i := range p {
		p[i] = 0xff
	}
	p[0], p[31] = 0xed, 0x7f
	return p
}()

var smallOrderY = func() [][32]byte {
	order8 := [32]byte{
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	}
	minusOne, plusP, onePlusP := fieldPrime, fieldPrime, fieldPrime
	minusOne[0]--
	onePlusP[0]++
	return [][32]byte{{}, {1}, minusOne, plusP, onePlusP, order8, negate(order8)}
}()

// negate returns p - y.
func negate(y [32]byte) (n [32]byte) {
	borrow := 0
	for i := range y {
		d := int(fieldPrime[i]) - int(y[i]) - borrow
		borrow = 0
		if d < 0 {
			d, borrow = d+256, 1
		}
		n[i] = byte(d)
	}
	return n
}
