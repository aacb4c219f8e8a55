package seal

import (
	"bytes"
	"io"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// FuzzHeader: whatever header is accepted is CBOR that another library reads,
// too, and that it encodes, deterministically, to the very same bytes.
func FuzzHeader(f *testing.F) {
	for _, p := range variants() {
		f.Add(mustSeal(f, p, nil))
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ReadHeader(bytes.NewReader(b))
		if err != nil {
			if !isRefusal(err) {
				t.Fatal(err)
			}
			return
		}
		var v any
		if err := cbor.Unmarshal(h.raw[preambleLen:], &v); err != nil {
			t.Fatalf("accepted what is no CBOR: %v", err)
		}
		if again, err := mode.Marshal(v); err != nil || !bytes.Equal(again, h.raw[preambleLen:]) {
			t.Fatalf("accepted %x, deterministic is %x (%v)", h.raw[preambleLen:], again, err)
		}
	})
}

// FuzzTrailer: as FuzzHeader, for the record in the trailer.
func FuzzTrailer(f *testing.F) {
	f.Add(record(&Trailer{Size: 5, HasDigest: true, Recovery: testRecovery}))
	f.Add(record(&Trailer{}))
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseRecord(b); err != nil {
			if !isRefusal(err) {
				t.Fatal(err)
			}
			return
		}
		var v any
		if err := cbor.Unmarshal(b, &v); err != nil {
			t.Fatalf("accepted what is no CBOR: %v", err)
		}
		if again, err := mode.Marshal(v); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, deterministic is %x (%v)", b, again, err)
		}
	})
}

// edit changes a sealed file as a fuzzer's script says: three bytes for each
// change: where (two) and what.
func edit(sealed, script []byte) []byte {
	b := bytes.Clone(sealed)
	for ; len(script) >= 3 && len(b) > 0; script = script[3:] {
		at := (int(script[0])<<8 | int(script[1])) % len(b)
		switch what := script[2]; what % 4 {
		case 0:
			b[at] ^= what>>2 | 1
		case 1:
			b = b[:at]
		case 2:
			b = append(b[:at:at], append([]byte{what}, b[at:]...)...)
		case 3:
			b = append(b, b[at:]...)
		}
	}
	return b
}

// FuzzReader: the streaming ways of opening give out a beginning of what was
// sealed and end well only for what was sealed.
func FuzzReader(f *testing.F) {
	for _, s := range fuzzScripts {
		f.Add(s)
	}
	plain := text(2500)
	files := fuzzFiles(f, plain)
	f.Fuzz(func(t *testing.T, script []byte) {
		for _, sealed := range files {
			edited := edit(sealed, script)
			r, err := NewReader(bytes.NewReader(edited), testOpen())
			if err != nil {
				continue
			}
			got, err := io.ReadAll(r)
			r.Close()
			if err == nil && !bytes.Equal(edited, sealed) || !bytes.HasPrefix(plain, got) {
				t.Fatalf("%d bytes of an altered file given out: %v", len(got), err)
			}
		}
	})
}

// FuzzReaderAt: the same for ranges.
func FuzzReaderAt(f *testing.F) {
	for _, s := range fuzzScripts {
		f.Add(s, uint16(700), uint16(1500))
	}
	plain := text(2500)
	files := fuzzFiles(f, plain)
	f.Fuzz(func(t *testing.T, script []byte, off, n uint16) {
		for _, sealed := range files {
			edited := edit(sealed, script)
			r, err := NewReaderAt(bytes.NewReader(edited), int64(len(edited)), testOpen())
			if err != nil {
				continue
			}
			buf := make([]byte, n)
			at := int(off) % (len(plain) + 1)
			m, err := r.ReadAt(buf, int64(at))
			if err == nil && m != len(buf) || !bytes.HasPrefix(plain[at:], buf[:m]) {
				t.Fatalf("%d bytes at %d of an altered file: %v", m, at, err)
			}
			if r.Verify() == nil && !bytes.Equal(edited, sealed) {
				t.Fatal("Verify found nothing")
			}
			r.Close()
		}
	})
}

var fuzzScripts = [][]byte{{}, {0, 20, 4}, {1, 0, 1}, {4, 0, 2}, {3, 9, 3}, {0, 12, 8, 2, 2, 8}}

func fuzzFiles(f *testing.F, plain []byte) [][]byte {
	return [][]byte{mustSeal(f, one(AES256GCM), plain), mustSeal(f, padded(zstded(two())), plain)}
}
