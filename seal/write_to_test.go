package seal

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// failAfter takes n bytes and then fails once.
type failAfter struct {
	bytes.Buffer
	n int
}

func (w *failAfter) Write(p []byte) (int, error) {
	if len(p) <= w.n {
		w.n -= len(p)
		return w.Buffer.Write(p)
	}
	n, _ := w.Buffer.Write(p[:w.n])
	w.n = 1 << 62
	return n, errFull
}

// Whatever had been read ahead when the receiver failed is not lost, whether
// one goes on with WriteTo or with Read.
func TestReadingGoesOnAfterTheReceiverFailed(t *testing.T) {
	plain := text(5*runBytes + 12345)
	for name, p := range variants() {
		p.SegmentSize = 64 << 10
		if p.FrameSize > 0 {
			p.FrameSize = 64 << 10
		}
		sealed := mustSeal(t, p, plain)
		for _, at := range []int{0, 1, runBytes, 2*runBytes + 77, len(plain) - 1} {
			for _, how := range []string{"WriteTo", "Read"} {
				r, err := NewReader(bytes.NewReader(sealed), testOpen())
				if err != nil {
					t.Fatal(err)
				}
				w := &failAfter{n: at}
				n, err := r.WriteTo(w)
				if !errors.Is(err, errFull) || n != int64(at) {
					t.Fatalf("%s at %d: %d bytes, %v", name, at, n, err)
				}
				if how == "WriteTo" {
					_, err = r.WriteTo(w)
				} else {
					_, err = io.Copy(&w.Buffer, struct{ io.Reader }{r})
				}
				if err != nil || !bytes.Equal(w.Bytes(), plain) {
					t.Fatalf("%s at %d, then %s: %d bytes, %v", name, at, how, w.Len(), err)
				}
			}
		}
	}
}

// Close in the middle of a file is allowed after WriteTo as before it.
func TestCloseAfterTheReceiverFailed(t *testing.T) {
	p := one(AES256GCM)
	sealed := mustSeal(t, p, text(4*runBytes))
	r, err := NewReader(bytes.NewReader(sealed), testOpen())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.WriteTo(&failAfter{n: 100}); !errors.Is(err, errFull) {
		t.Fatal(err)
	}
	r.Close()
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
}

// What comes before a damaged segment is given out, also when the segments
// after it had been opened by then.
func TestWriteToStopsAtDamage(t *testing.T) {
	p := one(AES256GCM)
	p.SegmentSize = 64 << 10
	plain := text(6 * runBytes)
	sealed := mustSeal(t, p, plain)
	r, err := NewReader(bytes.NewReader(sealed), testOpen())
	if err != nil {
		t.Fatal(err)
	}
	const bad = 11 // a segment of the second run
	sealed[r.Header().Size()+bad*(p.SegmentSize+tagLen)+5] ^= 1
	var got bytes.Buffer
	if _, err := r.WriteTo(&got); !errors.Is(err, ErrTampered) {
		t.Fatalf("got %v", err)
	}
	if !bytes.Equal(got.Bytes(), plain[:bad*p.SegmentSize]) {
		t.Errorf("%d bytes were given out, not %d", got.Len(), bad*p.SegmentSize)
	}
}
