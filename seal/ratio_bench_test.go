package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"hash"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// The benchmarks named Ratio compare this package with the ciphers it is made
// of and report `ratio`: how much of their speed is left, 1 being all of it.
//
// The baseline is always one goroutine that runs the bare ciphers of
// crypto/cipher (and crypto/sha256, where a digest is made) over the same
// plaintext, segment by segment of 64 KiB, with the same nonces and associated
// data, into one buffer of a segment: one cipher after the other, the digest
// last. To open, it reads each segment from the source, a bytes.Reader, into a
// buffer of a segment, as whoever reads a file has to.
//
// A file of 1 GiB is worked on in parts of 64 MiB. After each part the baseline
// does the same part, so that a machine that is busy with something else slows
// both; each part gives a ratio, and their median is reported. The ratios are
// on one core, GOMAXPROCS=1 for both sides, but for TwoCores, where the package
// has two and the baseline still one.

const (
	ratioPart  = 64 << 20
	ratioParts = 16 // a file of 1 GiB
)

// ratioCiphers is the baseline.
type ratioCiphers struct {
	aeads  []cipher.AEAD
	digest hash.Hash // nil where none is made
	dst    []byte
	aad    [32]byte
}

func newRatioCiphers(b *testing.B, digest bool, suites ...Suite) *ratioCiphers {
	b.Helper()
	c := &ratioCiphers{dst: make([]byte, DefaultSegmentSize+len(suites)*tagLen)}
	if digest {
		c.digest = sha256.New()
	}
	key := make([]byte, keyLen)
	for _, s := range suites {
		var a cipher.AEAD
		block, err := aes.NewCipher(key)
		if err != nil {
			b.Fatal(err)
		}
		if a, err = cipher.NewGCM(block); s == ChaCha20Poly1305 {
			a, err = chacha20poly1305.New(key)
		}
		if err != nil {
			b.Fatal(err)
		}
		c.aeads = append(c.aeads, a)
	}
	return c
}

func (c *ratioCiphers) seal(src []byte) {
	var n nonce
	for i := int64(0); len(src) > 0; i++ {
		out := src[:DefaultSegmentSize]
		nc := n.set(kindData, i, false)
		for _, a := range c.aeads {
			out = a.Seal(c.dst[:0], nc, out, c.aad[:])
		}
		if c.digest != nil {
			c.digest.Write(src[:DefaultSegmentSize])
		}
		src = src[DefaultSegmentSize:]
	}
}

// open reads segments that seal made and opens them.
func (c *ratioCiphers) open(b *testing.B, src io.Reader) {
	b.Helper()
	var n nonce
	sealed := make([]byte, DefaultSegmentSize+tagLen)
	for i := int64(0); ; i++ {
		if _, err := io.ReadFull(src, sealed); err == io.EOF {
			return
		} else if err != nil {
			b.Fatal(err)
		}
		if _, err := c.aeads[0].Open(c.dst[:0], n.set(kindData, i, false), sealed, c.aad[:]); err != nil {
			b.Fatal(err)
		}
	}
}

// ratios are of parts; a part's baseline is timed right after it.
type ratios []float64

func (r *ratios) add(b *testing.B, baseline, measured func()) {
	b.Helper()
	start := time.Now()
	measured()
	middle := time.Now()
	baseline()
	*r = append(*r, float64(time.Since(middle))/float64(middle.Sub(start)))
}

func (r ratios) report(b *testing.B) {
	slices.Sort(r)
	b.ReportMetric(r[len(r)/2], "ratio")
	b.ReportMetric(0, "ns/op") // means nothing here
}

func cores(b *testing.B, n int) {
	before := runtime.GOMAXPROCS(n)
	b.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

func ratioPlain() []byte {
	plain := make([]byte, ratioPart)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(plain)
	return plain
}

// ratioWrite writes a file of 1 GiB beside its baseline.
func ratioWrite(b *testing.B, n int, digest bool, suites ...Suite) {
	cores(b, n)
	p := benchParams()
	p.NoDigest = !digest
	p.Stages = nil
	for _, s := range suites {
		p.Stages = append(p.Stages, Stage{s, []Recipient{KeyRecipient(kekA)}})
	}
	plain, base := ratioPlain(), newRatioCiphers(b, digest, suites...)
	var all ratios
	for b.Loop() {
		w, err := NewWriter(io.Discard, &p)
		if err != nil {
			b.Fatal(err)
		}
		for range ratioParts {
			all.add(b, func() { base.seal(plain) }, func() {
				if _, err := w.Write(plain); err != nil {
					b.Fatal(err)
				}
			})
		}
		if _, err := w.Close(Recovery{}); err != nil {
			b.Fatal(err)
		}
	}
	all.report(b)
}

// BenchmarkRatioNoDigest: a Writer without digest, one core, of AES-256-GCM.
func BenchmarkRatioNoDigest(b *testing.B) { ratioWrite(b, 1, false, AES256GCM) }

// BenchmarkRatioDigest: a Writer with digest, one core, of AES-256-GCM and then
// SHA-256.
func BenchmarkRatioDigest(b *testing.B) { ratioWrite(b, 1, true, AES256GCM) }

// BenchmarkRatioTwoCores: a Writer without digest on two cores, of AES-256-GCM
// on one.
func BenchmarkRatioTwoCores(b *testing.B) { ratioWrite(b, 2, false, AES256GCM) }

// BenchmarkRatioTwoStages: a Writer without digest, one core, of AES-256-GCM
// and then ChaCha20-Poly1305.
func BenchmarkRatioTwoStages(b *testing.B) {
	ratioWrite(b, 1, false, AES256GCM, ChaCha20Poly1305)
}

// BenchmarkRatioOpen: opening without checking the digest, of AES-256-GCM, by
// each of the ways to read a file, on one core and on two.
func BenchmarkRatioOpen(b *testing.B) {
	p := benchParams()
	sealed, _, err := SealBytes(nil, ratioPlain(), &p, Recovery{})
	if err != nil {
		b.Fatal(err)
	}
	o := testOpen()
	o.CheckDigest = false
	whole := func(b *testing.B) {
		r, err := NewReader(bytes.NewReader(sealed), o)
		if err == nil {
			_, err = r.WriteTo(io.Discard)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	ranged := func(b *testing.B) {
		r, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), o)
		if err == nil {
			err = r.ReadRange(io.Discard, 0, r.Size())
			r.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	var atHand []byte
	bytesOf := func(b *testing.B) {
		var err error
		if atHand, _, err = OpenBytes(atHand[:0], sealed, o); err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		cores int
		open  func(b *testing.B)
	}{{"OpenBytes", 1, bytesOf}, {"Reader", 1, whole}, {"ReadRange", 1, ranged}, {"ReaderTwoCores", 2, whole}, {"ReadRangeTwoCores", 2, ranged}} {
		b.Run(c.name, func(b *testing.B) {
			cores(b, c.cores)
			base := newRatioCiphers(b, false, AES256GCM)
			// What the baseline opens has the length of what is measured.
			bare := make([]byte, 0, len(sealed))
			var n nonce
			for i, plain := int64(0), ratioPlain(); len(plain) > 0; i, plain = i+1, plain[DefaultSegmentSize:] {
				bare = base.aeads[0].Seal(bare, n.set(kindData, i, false), plain[:DefaultSegmentSize], base.aad[:])
			}
			var all ratios
			for b.Loop() {
				for range ratioParts {
					all.add(b, func() { base.open(b, bytes.NewReader(bare)) }, func() { c.open(b) })
				}
			}
			all.report(b)
		})
	}
}
