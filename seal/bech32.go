package seal

import (
	"errors"
	"strings"
)

// Bech32 (BIP 173), without its limit of 90 characters: post-quantum public
// keys are longer. Its checksum is what makes a mistyped key an error.

const bech32Alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

var errBech32 = errors.New("not bech32, or mistyped")

func bech32Polymod(values []byte) uint32 {
	generator := [...]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	chk := uint32(1)
	for _, v := range values {
		top := chk >> 25
		chk = chk&0x1ffffff<<5 ^ uint32(v)
		for i, g := range generator {
			if top>>i&1 == 1 {
				chk ^= g
			}
		}
	}
	return chk
}

func bech32Expand(prefix string) []byte {
	out := make([]byte, 0, 2*len(prefix)+1)
	for _, c := range []byte(prefix) {
		out = append(out, c>>5)
	}
	out = append(out, 0)
	for _, c := range []byte(prefix) {
		out = append(out, c&31)
	}
	return out
}

// regroup turns groups of from bits into groups of to bits. Padding is added
// when pad is set; else left-over bits must be zero and fewer than from.
func regroup(in []byte, from, to uint, pad bool) ([]byte, error) {
	out := make([]byte, 0, (len(in)*int(from)+int(to)-1)/int(to))
	var acc uint32
	var bits uint
	for _, v := range in {
		acc = acc<<from | uint32(v)
		bits += from
		for bits >= to {
			bits -= to
			out = append(out, byte(acc>>bits&(1<<to-1)))
		}
		acc &= 1<<bits - 1
	}
	if pad {
		if bits > 0 {
			out = append(out, byte(acc<<(to-bits)&(1<<to-1)))
		}
	} else if bits >= from || acc != 0 {
		return nil, errBech32
	}
	return out, nil
}

// bech32Encode writes data under a lower-case prefix.
func bech32Encode(prefix string, data []byte) string {
	values, _ := regroup(data, 8, 5, true) // padding never fails
	sum := append(bech32Expand(prefix), values...)
	chk := bech32Polymod(append(sum, 0, 0, 0, 0, 0, 0)) ^ 1
	var s strings.Builder
	s.WriteString(prefix + "1")
	for _, v := range values {
		s.WriteByte(bech32Alphabet[v])
	}
	for i := range 6 {
		s.WriteByte(bech32Alphabet[chk>>(5*(5-i))&31])
	}
	return s.String()
}

// bech32Decode reads what bech32Encode writes, wholly in one case or the other,
// and returns the prefix in lower case.
func bech32Decode(s string) (prefix string, data []byte, err error) {
	lower := strings.ToLower(s)
	if s != lower && s != strings.ToUpper(s) {
		return "", nil, errBech32
	}
	at := strings.LastIndexByte(lower, '1')
	if at < 1 || len(lower)-at-1 < 6 {
		return "", nil, errBech32
	}
	prefix = lower[:at]
	values := make([]byte, 0, len(lower)-at-1)
	for _, c := range []byte(lower[at+1:]) {
		v := strings.IndexByte(bech32Alphabet, c)
		if v < 0 {
			return "", nil, errBech32
		}
		values = append(values, byte(v))
	}
	if bech32Polymod(append(bech32Expand(prefix), values...)) != 1 {
		return "", nil, errBech32
	}
	data, err = regroup(values[:len(values)-6], 5, 8, false)
	return prefix, data, err
}
