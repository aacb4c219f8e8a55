package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"testing"
)

// testKEK is a key-encryption key in plain memory.
type testKEK struct {
	id  [16]byte
	key [32]byte
}

func (k testKEK) ID() [16]byte { return k.id }
func (k testKEK) Derive(salt, info []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, k.key[:], salt, string(info), 32)
}

func newTestKEK(n byte) testKEK {
	k := testKEK{}
	for i := range k.key {
		k.key[i] = n + byte(i)
	}
	for i := range k.id {
		k.id[i] = n ^ byte(i)
	}
	return k
}

// ring is an identity for some KEKs.
func ring(keks ...testKEK) Identity {
	return KeyIdentity(func(id [16]byte) (KEK, error) {
		for _, k := range keks {
			if k.id == id {
				return k, nil
			}
		}
		return nil, ErrNoKey
	})
}

var (
	kekA = newTestKEK(0x11)
	kekB = newTestKEK(0x77)

	testFS      = [16]byte{0xf5, 1, 2, 3}
	testContent = [16]byte{0xc0, 9, 8, 7}

	cheap = Argon2Params{Time: 1, MemoryKiB: 64, Threads: 1}

	testRecovery = Recovery{
		Path: "/patients/173/prescription.pdf", File: [16]byte{1, 2, 3}, Version: 7, Extents: 1, Seq: 99,
		Created: 1700000000000000, Modified: -5, Type: "application/pdf",
		Meta: map[string]string{"ward": "7", "a-longer-key": "ä"}, Owner: "app1", Mode: 0o640,
	}
)

// one returns parameters with one stage under kekA.
func one(suite Suite) Params {
	return Params{FS: testFS, Content: testContent, SegmentSize: 1 << 10, Stages: []Stage{{suite, []Recipient{KeyRecipient(kekA)}}}}
}

// two returns parameters with two stages under different keys.
func two() Params {
	p := one(AES256GCM)
	p.Stages = append(p.Stages, Stage{ChaCha20Poly1305, []Recipient{KeyRecipient(kekB)}})
	return p
}

func zstded(p Params) Params {
	p.Compression, p.FrameSize = CompressZstd, 1<<10
	return p
}

func padded(p Params) Params { p.Padding = PadPadme; return p }

// variants are the kinds of sealed file that every behaviour is tried on.
func variants() map[string]Params {
	noDigest := one(AES256GCM)
	noDigest.NoDigest = true
	return map[string]Params{
		"aes":             one(AES256GCM),
		"chacha":          one(ChaCha20Poly1305),
		"two":             two(),
		"padded":          padded(one(AES256GCM)),
		"zstd":            zstded(one(AES256GCM)),
		"two zstd padded": padded(zstded(two())),
		"no digest":       noDigest,
	}
}

func testOpen() *Open {
	return &Open{FS: testFS, Content: testContent, Identities: []Identity{ring(kekA, kekB)}, Size: -1, PlainSize: -1, CheckDigest: true}
}

// text returns n bytes of which half compress.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		if i/512%2 == 0 {
			b[i] = byte(r.Uint32())
		} else {
			b[i] = "prescription"[i%12]
		}
	}
	return b
}

func mustSeal(t testing.TB, p Params, plain []byte) []byte {
	t.Helper()
	sealed, info, err := SealBytes(nil, plain, &p, testRecovery)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size != int64(len(plain)) || info.SealedSize != int64(len(sealed)) {
		t.Fatalf("info says %+v of %d bytes sealed to %d", info, len(plain), len(sealed))
	}
	return sealed
}

// stream seals with a Writer, in writes of chunk bytes; 0: by ReadFrom.
func stream(t testing.TB, p Params, plain []byte, chunk int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, &p)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if chunk == 0 {
		if n, err := w.ReadFrom(bytes.NewReader(plain)); err != nil || n != int64(len(plain)) {
			t.Fatal(n, err)
		}
	}
	for rest := plain; chunk > 0 && len(rest) > 0; {
		n := min(chunk, len(rest))
		if m, err := w.Write(rest[:n]); err != nil || m != n {
			t.Fatal(m, err)
		}
		rest = rest[n:]
	}
	info, err := w.Close(testRecovery)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size != int64(len(plain)) || info.SealedSize != int64(out.Len()) {
		t.Fatalf("info says %+v of %d bytes sealed to %d", info, len(plain), out.Len())
	}
	return out.Bytes()
}

// The ways of opening a whole file. Each returns what was given out before the
// error.
var openers = map[string]func(sealed []byte, o *Open) ([]byte, *Trailer, error){
	"OpenBytes": func(sealed []byte, o *Open) ([]byte, *Trailer, error) {
		return OpenBytes(nil, sealed, o)
	},
	"OpenInPlace": func(sealed []byte, o *Open) ([]byte, *Trailer, error) {
		return OpenInPlace(bytes.Clone(sealed), o)
	},
	"Reader.Read": func(sealed []byte, o *Open) ([]byte, *Trailer, error) {
		r, err := NewReader(bytes.NewReader(sealed), o)
		if err != nil {
			return nil, nil, err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		return b, r.Trailer(), err
	},
	"Reader.WriteTo": func(sealed []byte, o *Open) ([]byte, *Trailer, error) {
		r, err := NewReader(bytes.NewReader(sealed), o)
		if err != nil {
			return nil, nil, err
		}
		defer r.Close()
		var out bytes.Buffer
		_, err = r.WriteTo(&out)
		return out.Bytes(), r.Trailer(), err
	},
	"ReaderAt": func(sealed []byte, o *Open) ([]byte, *Trailer, error) {
		r, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), o)
		if err != nil {
			return nil, nil, err
		}
		defer r.Close()
		if err := r.Verify(); err != nil {
			return nil, nil, err
		}
		var out bytes.Buffer
		err = r.ReadRange(&out, 0, r.Size())
		t, _ := r.Trailer()
		return out.Bytes(), t, err
	},
}
