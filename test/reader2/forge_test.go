package reader2

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"
)

// What follows is a writer of its own, after docs/sealed-file.md: it makes files
// with a right MAC and right tags that no honest writer makes.

// forgery is a file of one stage, AES-256-GCM, with the file key forgedKey.
type forgery struct {
	header   string // CBOR
	segments []forged
}

type forged struct {
	kind  byte
	last  byte
	plain string
}

var forgedKey = bytes.Repeat([]byte{0x5e}, 32)

func derive(t testing.TB, secret, salt []byte, info string) []byte {
	t.Helper()
	key, err := hkdf.Key(sha256.New, secret, salt, info, 32)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func gcm(t testing.TB, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

func (f forgery) seal(t testing.TB) []byte {
	t.Helper()
	h := binary.BigEndian.AppendUint32([]byte("EFSseal\x01"), uint32(len(f.header)))
	h = append(h, f.header...)
	salt := sha256.Sum256(h)
	mac := hmac.New(sha256.New, derive(t, forgedKey, salt[:], "efs/seal/1/header-mac\x01"))
	mac.Write(h)
	out := mac.Sum(bytes.Clone(h))
	aead := gcm(t, derive(t, forgedKey, salt[:], "efs/seal/1/payload\x00\x01"))
	for i, s := range f.segments {
		nonce := binary.BigEndian.AppendUint64([]byte{s.kind, 0, 0}, uint64(i))
		out = aead.Seal(out, append(nonce, s.last), []byte(s.plain), append(fsID[:], contentID[:]...))
	}
	return out
}

// wrapped is the body of a key slot: forgedKey for kekA.
func wrapped(t testing.TB, salt string) string {
	t.Helper()
	key := derive(t, kekA.key, []byte(salt), "efs/seal/1/slot/key"+string(fsID[:])+string(contentID[:])+"\x00\x01")
	return string(gcm(t, key).Seal(nil, make([]byte, 12), forgedKey, nil))
}

// CBOR, each a whole item.

func head(major byte, n uint64) string {
	b := []byte{major << 5}
	switch {
	case n < 24:
		b[0] |= byte(n)
	case n < 1<<8:
		b[0] |= 24
		b = append(b, byte(n))
	case n < 1<<16:
		b[0] |= 25
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	case n < 1<<32:
		b[0] |= 26
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	default:
		b[0] |= 27
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return string(b)
}

func uint_(n uint64) string    { return head(0, n) }
func neg(n uint64) string      { return head(1, n-1) } // -n
func byts(s string) string     { return head(2, uint64(len(s))) + s }
func txt(s string) string      { return head(3, uint64(len(s))) + s }
func arr(v ...string) string   { return head(4, uint64(len(v))) + strings.Join(v, "") }
func table(v ...string) string { return head(5, uint64(len(v)/2)) + strings.Join(v, "") }

// nested is n arrays, one in the other.
func nested(n int) string { return strings.Repeat("\x81", n-1) + "\x80" }

// headerWith is a header with these stages, and what else is given as keys and values.
func headerWith(stages string, more ...string) string {
	return table(append([]string{
		uint_(1), byts(string(fsID[:])), uint_(2), byts(string(contentID[:])), uint_(3), uint_(1024), uint_(4), uint_(0),
		uint_(5), uint_(0), uint_(6), stages,
	}, more...)...)
}

// zstdHeader is a header with compression in frames of 1,024 bytes.
func zstdHeader(stages string) string {
	return table(uint_(1), byts(string(fsID[:])), uint_(2), byts(string(contentID[:])), uint_(3), uint_(1024), uint_(4), uint_(1),
		uint_(5), uint_(0), uint_(6), stages, uint_(7), uint_(1024))
}

// stage is a stage of AES-256-GCM with these slots.
func stage(slots ...string) string { return table(uint_(1), uint_(1), uint_(2), arr(slots...)) }

// goodSlot is the slot that opens with kekA.
func goodSlot(t testing.TB) string {
	salt := strings.Repeat("s", 32)
	return table(uint_(1), uint_(1), uint_(2), byts(string(kekA.id[:])), uint_(3), byts(salt), uint_(5), byts(wrapped(t, salt)))
}

// hello is the only segment of a file that holds "hello".
func hello() []forged { return ended("hello", "", 0, table(uint_(1), uint_(5))) }

// ended is the last and only segment of a file: data, frame table, padding, record.
func ended(data, frames string, padding int, record string) []forged {
	return []forged{{4, 1, end(data, frames, padding, record)}}
}

func end(data, frames string, padding int, record string) string {
	return data + frames + strings.Repeat("\x00", padding) + record + suffix(len(data), len(frames), padding, len(record))
}

func suffix(d, t, z, r int) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(d))
	b = binary.BigEndian.AppendUint64(b, uint64(t))
	b = binary.BigEndian.AppendUint64(b, uint64(z))
	return string(binary.BigEndian.AppendUint32(b, uint32(r)))
}
