package userkey

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/efs-project/efs"
)

// nested returns the body of a signature packet that embeds another, which
// embeds another, to about size bytes.
func nested(size int) []byte {
	const creationTime, embedded = 2, 32
	var b []byte
	for len(b) < size {
		subpackets := []byte{5, creationTime, 1, 2, 3, 4}
		if b != nil {
			subpackets = append(subpackets, 255)
			subpackets = binary.BigEndian.AppendUint32(subpackets, uint32(len(b)+1))
			subpackets = append(append(subpackets, embedded), b...)
		}
		// version, type, EdDSA, SHA-256; no unhashed ones, hash tag, two numbers
		outer := binary.BigEndian.AppendUint16([]byte{4, 0, 22, 8}, uint16(len(subpackets)))
		b = append(append(outer, subpackets...), 0, 0, 1, 1, 0, 1, 1, 0, 1, 1)
	}
	return b
}

func signaturePacketOf(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xc2, 255}, uint32(len(body))), body...)
}

// allocated returns how many bytes fn allots.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Signatures within signatures cost little memory, whatever their length.
func TestNestedSignatures(t *testing.T) {
	const most = 4 << 20
	for _, size := range []int{100, 2 << 10, 40 << 10} {
		sig := armorSignature(t, signaturePacketOf(nested(size)))
		var err error
		if n := allocated(func() { err = Verify(nil, message, sig) }); n > most {
			t.Errorf("a signature of %d bytes: %d bytes were allotted, want at most %d", len(sig), n, most)
		}
		if !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("a signature of %d bytes: %v, want ErrBadInput", len(sig), err)
		}
	}
}

// The same within a public key.
func TestNestedSignaturesInKey(t *testing.T) {
	const most = 4 << 20
	e, err := openpgp.NewEntity("app1", "", "", pgpConfig())
	if err != nil {
		t.Fatal(err)
	}
	var binary, key bytes.Buffer
	if err := e.Serialize(&binary); err != nil {
		t.Fatal(err)
	}
	binary.Write(signaturePacketOf(nested(40 << 10)))
	w, err := armor.Encode(&key, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(binary.Bytes())
	w.Close()
	if n := allocated(func() { _, err = ParsePublic(key.Bytes()) }); n > most {
		t.Errorf("%d bytes were allotted, want at most %d", n, most)
	}
	if !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("%v, want ErrBadInput", err)
	}
}
