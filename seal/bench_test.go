package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"io"
	"testing"
)

const benchBody = 64 << 20

func benchParams() Params {
	p := one(AES256GCM)
	p.SegmentSize = DefaultSegmentSize
	p.Padding = PadPadme
	return p
}

// BenchmarkPlainGCM is the ceiling: crypto/cipher over the same segments.
func BenchmarkPlainGCM(b *testing.B) {
	block, _ := aes.NewCipher(make([]byte, 32))
	aead, _ := cipher.NewGCM(block)
	src, dst := make([]byte, benchBody), make([]byte, DefaultSegmentSize+16)
	var n nonce
	aad := make([]byte, 32)
	b.SetBytes(benchBody)
	for b.Loop() {
		for at := 0; at < benchBody; at += DefaultSegmentSize {
			aead.Seal(dst[:0], n.set(kindData, int64(at), false), src[at:at+DefaultSegmentSize], aad)
		}
	}
}

// BenchmarkPlainGCMAndSHA is the same with the digest, one after the other.
func BenchmarkPlainGCMAndSHA(b *testing.B) {
	block, _ := aes.NewCipher(make([]byte, 32))
	aead, _ := cipher.NewGCM(block)
	src, dst := make([]byte, benchBody), make([]byte, DefaultSegmentSize+16)
	var n nonce
	aad := make([]byte, 32)
	b.SetBytes(benchBody)
	for b.Loop() {
		h := sha256.New()
		for at := 0; at < benchBody; at += DefaultSegmentSize {
			h.Write(src[at : at+DefaultSegmentSize])
			aead.Seal(dst[:0], n.set(kindData, int64(at), false), src[at:at+DefaultSegmentSize], aad)
		}
	}
}

func BenchmarkWriter(b *testing.B) {
	src := make([]byte, benchBody)
	run := func(p Params, feed func(w *Writer) error) func(b *testing.B) {
		return func(b *testing.B) {
			b.SetBytes(benchBody)
			b.ReportAllocs()
			for b.Loop() {
				w, err := NewWriter(io.Discard, &p)
				if err != nil {
					b.Fatal(err)
				}
				if err := feed(w); err != nil {
					b.Fatal(err)
				}
				if _, err := w.Close(Recovery{}); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	writes := func(size int) func(w *Writer) error {
		return func(w *Writer) error {
			for at := 0; at < len(src); at += size {
				if _, err := w.Write(src[at:min(at+size, len(src))]); err != nil {
					return err
				}
			}
			return nil
		}
	}
	readFrom := func(w *Writer) error {
		_, err := w.ReadFrom(bytes.NewReader(src))
		return err
	}
	p := benchParams()
	b.Run("Write1M", run(p, writes(1<<20)))
	b.Run("Write32K", run(p, writes(32<<10)))
	b.Run("ReadFrom", run(p, readFrom))
	p.NoDigest = true
	b.Run("NoDigest/WriteAll", run(p, writes(benchBody)))
	b.Run("NoDigest/Write1M", run(p, writes(1<<20)))
	b.Run("NoDigest/ReadFrom", run(p, readFrom))
}

func BenchmarkReader(b *testing.B) {
	p := benchParams()
	sealed, _, err := SealBytes(nil, make([]byte, benchBody), &p, Recovery{})
	if err != nil {
		b.Fatal(err)
	}
	o := testOpen()
	o.CheckDigest = false
	b.Run("WriteTo", func(b *testing.B) {
		b.SetBytes(benchBody)
		b.ReportAllocs()
		for b.Loop() {
			r, err := NewReader(bytes.NewReader(sealed), o)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := r.WriteTo(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ReadRange", func(b *testing.B) {
		b.SetBytes(benchBody)
		b.ReportAllocs()
		for b.Loop() {
			r, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), o)
			if err != nil {
				b.Fatal(err)
			}
			if err := r.ReadRange(io.Discard, 0, r.Size()); err != nil {
				b.Fatal(err)
			}
			r.Close()
		}
	})
	b.Run("ReadAt64K", func(b *testing.B) {
		o := *o
		o.Size, o.PlainSize = int64(len(sealed)), benchBody
		buf := make([]byte, 64<<10)
		b.SetBytes(64 << 10)
		b.ReportAllocs()
		for b.Loop() {
			r, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), &o)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := r.ReadAt(buf, 1<<20); err != nil {
				b.Fatal(err)
			}
			r.Close()
		}
	})
}

func BenchmarkSealBytes4K(b *testing.B) {
	p := benchParams()
	plain := make([]byte, 4<<10)
	dst := make([]byte, 0, 8<<10)
	b.SetBytes(4 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := SealBytes(dst, plain, &p, testRecovery); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenBytes4K(b *testing.B) {
	p := benchParams()
	sealed, _, err := SealBytes(nil, make([]byte, 4<<10), &p, testRecovery)
	if err != nil {
		b.Fatal(err)
	}
	o := testOpen()
	o.CheckDigest = false
	dst := make([]byte, 0, 8<<10)
	b.SetBytes(4 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := OpenBytes(dst, sealed, o); err != nil {
			b.Fatal(err)
		}
	}
}
