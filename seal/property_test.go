package seal

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// drawParams draws any way of sealing.
func drawParams(t *rapid.T) Params {
	p := Params{
		FS: testFS, Content: testContent,
		SegmentSize: 1 << rapid.IntRange(10, 13).Draw(t, "segment bits"),
		Padding:     Padding(rapid.IntRange(0, 1).Draw(t, "padding")),
		NoDigest:    rapid.Bool().Draw(t, "no digest"),
	}
	if rapid.Bool().Draw(t, "compressed") {
		p.Compression, p.FrameSize = CompressZstd, 1<<rapid.IntRange(10, 13).Draw(t, "frame bits")
	}
	for range rapid.IntRange(1, 3).Draw(t, "stages") {
		p.Stages = append(p.Stages, Stage{Suite(rapid.IntRange(1, 2).Draw(t, "suite")), []Recipient{KeyRecipient(kekA)}})
	}
	return p
}

func drawRecovery(t *rapid.T) Recovery {
	r := Recovery{
		Path: rapid.String().Draw(t, "path"), Version: rapid.Uint64().Draw(t, "version"),
		Extent: rapid.IntRange(0, 1<<30).Draw(t, "extent"), Extents: rapid.IntRange(0, 1<<30).Draw(t, "extents"),
		Seq: rapid.Uint64().Draw(t, "seq"), Created: rapid.Int64().Draw(t, "created"), Modified: rapid.Int64().Draw(t, "modified"),
		Type: rapid.String().Draw(t, "type"), Owner: rapid.String().Draw(t, "owner"), Mode: rapid.Uint32().Draw(t, "mode"),
	}
	copy(r.File[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "file"))
	if m := rapid.MapOfN(rapid.String(), rapid.String(), 0, 30).Draw(t, "meta"); len(m) > 0 {
		r.Meta = m
	}
	return r
}

// TestSealAndOpenAreInverse: whatever the parameters and however the plaintext
// comes, what was sealed opens to it, wholly and in part.
func TestSealAndOpenAreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, rec := drawParams(t), drawRecovery(t)
		plain := text(rapid.IntRange(0, 40000).Draw(t, "size"))
		sealed := drawSealing(t, p, rec, plain)

		o := testOpen()
		if rapid.Bool().Draw(t, "lengths known") {
			o.Size, o.PlainSize = int64(len(sealed)), int64(len(plain))
		}
		r, err := NewReader(iotest.HalfReader(bytes.NewReader(sealed)), o)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("reading: %d bytes, %v", len(got), err)
		}
		if got := r.Info(); got.Size != int64(len(plain)) || got.SealedSize != int64(len(sealed)) {
			t.Fatalf("info %+v", got)
		}
		at, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), o)
		if err != nil {
			t.Fatal(err)
		}
		defer at.Close()
		if err := at.Verify(); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			off := rapid.IntRange(0, len(plain)).Draw(t, "offset")
			n := rapid.IntRange(0, len(plain)-off).Draw(t, "length")
			var out bytes.Buffer
			if err := at.ReadRange(&out, int64(off), int64(n)); err != nil || !bytes.Equal(out.Bytes(), plain[off:off+n]) {
				t.Fatalf("range of %d at %d: %v", n, off, err)
			}
			buf := make([]byte, n+1)
			m, err := at.ReadAt(buf, int64(off))
			if want := min(n+1, len(plain)-off); m != want || (err == io.EOF) != (m < len(buf)) || !bytes.Equal(buf[:m], plain[off:off+m]) {
				t.Fatalf("ReadAt of %d at %d: %d, %v", len(buf), off, m, err)
			}
		}
	})
}

// drawSealing seals with a Writer, in drawn portions, and compares the length
// with what SealBytes makes.
func drawSealing(t *rapid.T, p Params, rec Recovery, plain []byte) []byte {
	var out bytes.Buffer
	w, err := NewWriter(&out, &p)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for rest := plain; len(rest) > 0; {
		n := rapid.IntRange(1, len(rest)).Draw(t, "portion")
		if rapid.Bool().Draw(t, "by ReadFrom") {
			_, err = w.ReadFrom(iotest.OneByteReader(bytes.NewReader(rest[:n])))
		} else {
			_, err = w.Write(rest[:n])
		}
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if _, err := w.Close(rec); err != nil {
		t.Fatal(err)
	}
	once, info, err := SealBytes([]byte("before"), plain, &p, rec)
	if err != nil || len(once)-6 != out.Len() || info.SealedSize != int64(out.Len()) {
		t.Fatalf("SealBytes made %d bytes, the Writer %d: %v", len(once)-6, out.Len(), err)
	}
	got, tr, err := OpenBytes([]byte("before"), once[6:], testOpen())
	if err != nil || !bytes.Equal(got, append([]byte("before"), plain...)) {
		t.Fatalf("OpenBytes: %v", err)
	}
	if _, err := tr.record(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestTrailersAreInverse: every recovery record comes back as it was.
func TestTrailersAreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Trailer{Size: rapid.Int64Min(0).Draw(t, "size"), Recovery: drawRecovery(t)}
		b, err := in.record()
		if err != nil {
			t.Fatal(err)
		}
		out, err := parseRecord(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := out.record()
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("%x became %x: %v", b, again, err)
		}
	})
}

// TestHeadersAreInverse: every header comes back as it was.
func TestHeadersAreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawParams(t)
		h, err := p.header()
		if err != nil {
			t.Fatal(err)
		}
		for i := range h.Stages {
			bytesOf := func(n int, what string) []byte { return rapid.SliceOfN(rapid.Byte(), 0, n).Draw(t, what) }
			h.Stages[i].Slots[0] = Slot{
				Type: SlotType(rapid.SampledFrom([]byte{1, 2, 3, 128, 255}).Draw(t, "type")),
				Key:  bytesOf(maxSlotKey, "key"), Salt: bytesOf(maxSlotSalt, "salt"), Body: bytesOf(200, "body"),
				Params: rapid.SliceOfN(rapid.Uint64(), 0, maxSlotParams).Draw(t, "params"),
			}
		}
		if err := h.encode(); err != nil {
			t.Fatal(err)
		}
		got, err := parseHeader(h.raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.encode(); err != nil || !bytes.Equal(got.raw, h.raw) {
			t.Fatalf("%x became %x: %v", h.raw, got.raw, err)
		}
	})
}

// TestPadme: never smaller, at most 12 % larger, monotonic, and stable.
func TestPadme(t *testing.T) {
	for _, c := range [][2]int64{{0, 0}, {1, 1}, {2, 2}, {9, 10}, {100, 104}, {1000, 1024}, {1 << 20, 1 << 20}, {1<<20 + 1, 1<<20 + 32768}} {
		if got := padme(c[0]); got != c[1] {
			t.Errorf("padme(%d) = %d, want %d", c[0], got, c[1])
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<50).Draw(t, "n")
		p := padme(n)
		if p < n || float64(p) > 1.12*float64(n) || padme(p) != p || padme(n+1) < p {
			t.Fatalf("padme(%d) = %d", n, p)
		}
	})
}

// TestBech32IsInverse: any bytes come back.
func TestBech32IsInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		prefix, got, err := bech32Decode(bech32Encode("efs", data))
		if err != nil || prefix != "efs" || !bytes.Equal(got, data) {
			t.Fatalf("%x became %s %x: %v", data, prefix, got, err)
		}
	})
}
