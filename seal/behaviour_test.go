package seal

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"
)

// TestTrailerAnywhere moves the end of the file over a segment's border.
func TestTrailerAnywhere(t *testing.T) {
	for n := 900; n < 1100; n++ {
		for _, p := range []Params{one(AES256GCM), padded(two())} {
			plain := text(n)
			sealed, _, err := SealBytes(nil, plain, &p, Recovery{})
			if err != nil {
				t.Fatal(err)
			}
			for with, open := range openers {
				if got, _, err := open(sealed, testOpen()); err != nil || !bytes.Equal(got, plain) {
					t.Fatalf("%d bytes, %s: %v", n, with, err)
				}
			}
		}
	}
}

// failingWriter fails after some bytes.
type failingWriter struct{ left int }

var errFull = errors.New("volume is full")

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestWriteErrorsArriveAndStay(t *testing.T) {
	p := one(AES256GCM)
	for _, left := range []int{0, 1 << 20, 3 << 20} {
		for _, feed := range []func(w *Writer) error{
			func(w *Writer) error { _, err := w.Write(make([]byte, 20<<20)); return err },
			func(w *Writer) error { _, err := io.Copy(w, bytes.NewReader(make([]byte, 20<<20))); return err },
		} {
			w, err := NewWriter(&failingWriter{left}, &p)
			if err != nil {
				t.Fatal(err)
			}
			if err := feed(w); !errors.Is(err, errFull) {
				t.Errorf("feeding says %v", err)
			}
			if _, err := w.Write([]byte("x")); !errors.Is(err, errFull) {
				t.Errorf("Write says %v", err)
			}
			if _, err := w.Close(Recovery{}); !errors.Is(err, errFull) {
				t.Errorf("Close says %v", err)
			}
			w.Abort()
		}
	}
	w, err := NewWriter(&failingWriter{10}, &p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(Recovery{}); !errors.Is(err, errFull) {
		t.Errorf("Close of an empty file says %v", err)
	}
}

func TestAWriterEndsOnce(t *testing.T) {
	p := zstded(one(AES256GCM))
	for _, abort := range []bool{true, false} {
		w, err := NewWriter(io.Discard, &p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text(3 << 20)); err != nil {
			t.Fatal(err)
		}
		if size, sum := w.Sum(); size != 3<<20 || sum == [32]byte{} {
			t.Errorf("Sum is %d, %x", size, sum)
		}
		if abort {
			w.Abort()
		} else if _, err := w.Close(Recovery{}); err != nil {
			t.Fatal(err)
		}
		w.Abort()
		if _, err := w.Close(Recovery{}); !errors.Is(err, ErrClosed) {
			t.Errorf("Close says %v", err)
		}
		if _, err := w.Write([]byte("x")); !errors.Is(err, ErrClosed) {
			t.Errorf("Write says %v", err)
		}
		if _, err := w.ReadFrom(bytes.NewReader([]byte("x"))); !errors.Is(err, ErrClosed) {
			t.Errorf("ReadFrom says %v", err)
		}
	}
}

func TestReadErrorsPassThrough(t *testing.T) {
	p := one(AES256GCM)
	broken := errors.New("connection lost")
	w, err := NewWriter(io.Discard, &p)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if n, err := w.ReadFrom(io.MultiReader(bytes.NewReader(text(5000)), iotest.ErrReader(broken))); n != 5000 || err != broken {
		t.Errorf("ReadFrom says %d, %v", n, err)
	}
	sealed := mustSeal(t, p, text(5000))
	for _, cut := range []int{3, 50, 200, 3000, len(sealed)} {
		_, _, err := openers["Reader.Read"](sealed[:cut], testOpen())
		r, err2 := NewReader(io.MultiReader(bytes.NewReader(sealed[:cut]), iotest.ErrReader(broken)), testOpen())
		if err2 == nil {
			_, err2 = io.ReadAll(r)
			r.Close()
		}
		if !errors.Is(err2, broken) {
			t.Errorf("cut at %d: %v; broken there: %v", cut, err, err2)
		}
	}
}

// TestReadersCanBeClosedEarly: no plaintext after Close.
func TestReadersCanBeClosedEarly(t *testing.T) {
	sealed := mustSeal(t, one(AES256GCM), text(5000))
	r, err := NewReader(bytes.NewReader(sealed), testOpen())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if r.Trailer() != nil || r.Info() != (Info{}) || r.Recovery().Path != "" {
		t.Error("a trailer before the end")
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if n, err := r.Read(make([]byte, 10)); n != 0 || err != ErrClosed {
		t.Errorf("Read says %d, %v", n, err)
	}
	at, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), testOpen())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := at.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := at.ReadAt(make([]byte, 10), 0); err != ErrClosed {
		t.Errorf("ReadAt says %v", err)
	}
	if err := at.ReadRange(io.Discard, 0, 1); err != ErrClosed {
		t.Errorf("ReadRange says %v", err)
	}
	if err := at.Verify(); err != ErrClosed {
		t.Errorf("Verify says %v", err)
	}
}

func TestRangesAreChecked(t *testing.T) {
	sealed := mustSeal(t, one(AES256GCM), text(5000))
	r, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), testOpen())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, c := range [][2]int64{{-1, 1}, {0, -1}, {0, 5001}, {5001, 0}, {4999, 2}, {1 << 62, 1 << 62}} {
		if err := r.ReadRange(io.Discard, c[0], c[1]); !errors.Is(err, ErrParams) {
			t.Errorf("range %v: %v", c, err)
		}
	}
	if _, err := r.ReadAt(nil, -1); !errors.Is(err, ErrParams) {
		t.Errorf("negative offset: %v", err)
	}
	if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), text(5000)); err != nil {
		t.Error(err)
	}
}

// TestReaderAtIsShared reads from many goroutines at once, with the end of the
// file not yet loaded.
func TestReaderAtIsShared(t *testing.T) {
	for name, p := range variants() {
		plain := text(300 << 10)
		sealed := mustSeal(t, p, plain)
		o := testOpen()
		o.Size, o.PlainSize = int64(len(sealed)), int64(len(plain))
		r, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), o)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 20 {
					off := (g*77777 + i*9973) % len(plain)
					buf := make([]byte, min(5000, len(plain)-off))
					if _, err := r.ReadAt(buf, int64(off)); err != nil || !bytes.Equal(buf, plain[off:off+len(buf)]) {
						t.Errorf("%s: at %d: %v", name, off, err)
					}
				}
				if tr, err := r.Trailer(); err != nil || tr.Size != int64(len(plain)) {
					t.Errorf("%s: trailer %v, %v", name, tr, err)
				}
			})
		}
		wg.Wait()
		r.Close()
	}
}

// TestWritersAreIndependent seals and opens in many goroutines, which share the
// pools of buffers.
func TestWritersAreIndependent(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for name, p := range variants() {
				plain := bytes.Repeat([]byte{byte(g), 1, 2}, 250<<10)
				sealed := stream(t, p, plain, 100<<10)
				for with, open := range openers {
					if got, _, err := open(sealed, testOpen()); err != nil || !bytes.Equal(got, plain) {
						t.Errorf("%s, %s: %v", name, with, err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestWriterBehindAPipe: a Writer whose destination is slow or stops.
func TestWriterBehindAPipe(t *testing.T) {
	p := one(AES256GCM)
	plain := text(3 << 20)
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	go func() {
		w, err := NewWriter(pw, &p)
		if err == nil {
			if _, err = w.Write(plain); err == nil {
				_, err = w.Close(testRecovery)
			}
			w.Abort()
		}
		pw.CloseWithError(err)
		written <- err
	}()
	r, err := NewReader(pr, testOpen())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestSmallFilesStaySmall(t *testing.T) {
	p := one(AES256GCM)
	p.SegmentSize = 0
	if n := len(mustSeal(t, p, make([]byte, 4096))) - 4096; n > 600 {
		t.Errorf("4 KiB cost %d bytes more", n)
	}
	if n := len(mustSeal(t, padded(p), nil)); n > 600 {
		t.Errorf("an empty file costs %d bytes", n)
	}
}

// TestPaddingHides: lengths that Padmé does not tell apart are sealed to the
// same length, with and without compression.
func TestPaddingHides(t *testing.T) {
	for _, p := range []Params{padded(one(AES256GCM)), padded(two())} {
		seen := map[int]bool{}
		for n := 100000; n < 101000; n++ {
			_, info, err := SealBytes(nil, make([]byte, n), &p, Recovery{})
			if err != nil {
				t.Fatal(err)
			}
			seen[int(info.SealedSize)] = true
		}
		if len(seen) > 2 {
			t.Errorf("1,000 lengths were sealed to %d", len(seen))
		}
	}
}

// TestOpenInPlaceLeavesNothingElse: what was sealed beside the plaintext is not
// to be found in the memory that is used again, nor the plaintext after a
// failure.
func TestOpenInPlaceLeavesNothingElse(t *testing.T) {
	plain := text(300)
	for _, p := range []Params{one(AES256GCM), two(), padded(one(ChaCha20Poly1305))} {
		right := mustSeal(t, p, plain)
		wrong := testOpen()
		wrong.PlainSize = 299
		for _, o := range []*Open{testOpen(), wrong} {
			sealed := bytes.Clone(right)
			got, _, err := OpenInPlace(sealed, o)
			if (err == nil) != (o != wrong) || err == nil && !bytes.Equal(got, plain) {
				t.Fatalf("opened %d bytes, %v", len(got), err)
			}
			if err == nil && &got[0] != &sealed[cap(sealed)-cap(got)] {
				t.Error("the plaintext lies elsewhere")
			}
			clear(got)
			if bytes.Contains(sealed, []byte(testRecovery.Path)) || bytes.Contains(sealed, plain[:16]) {
				t.Errorf("plaintext left behind, error %v", err)
			}
		}
	}
}
