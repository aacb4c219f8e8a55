package dir

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/efs-project/efs/internal/directio"
	"golang.org/x/sys/unix"
)

// pieces writes content to out in pieces of at most n bytes and flushes it.
func pieces(out *output, content []byte, n int) error {
	for len(content) > 0 {
		m, err := out.Write(content[:min(n, len(content))])
		if err != nil {
			return err
		}
		content = content[m:]
	}
	return out.flush()
}

func outputFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestOutput writes lengths around every border of the output's own, past the
// page cache and through it, and finds each byte in its place.
func TestOutput(t *testing.T) {
	content := make([]byte, 3*outputSize+directMin+directAlign+1)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(content)
	for _, border := range []int{0, directAlign, directMin, outputSize, outputSize + directMin, 2 * outputSize, 3*outputSize + directMin + directAlign} {
		for _, size := range []int{border - 1, border, border + 1} {
			for _, piece := range []int{outputSize/2 + 16, 4096, 5 * outputSize} {
				for _, direct := range []bool{false, true} {
					if size < 0 {
						continue
					}
					t.Run(fmt.Sprintf("%d in %d direct %v", size, piece, direct), func(t *testing.T) {
						f := outputFile(t)
						out := newOutput(f, direct, new(pace))
						err := pieces(out, content[:size], piece)
						out.release()
						if err != nil {
							t.Fatal(err)
						}
						if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, content[:size]) {
							t.Errorf("%d bytes were written, others were read: %d, %v", size, len(got), err)
						}
					})
				}
			}
		}
	}
}

// TestOutputIsDirect makes sure that what is meant to pass by the page cache
// does, and that the ends do not.
func TestOutputIsDirect(t *testing.T) {
	f := outputFile(t)
	if directio.Set(f, true) != nil {
		t.Skip("this volume does not know O_DIRECT")
	}
	if err := directio.Set(f, false); err != nil {
		t.Fatal(err)
	}
	isDirect := func() bool {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
		if err != nil {
			t.Fatal(err)
		}
		return flags&unix.O_DIRECT != 0
	}
	out := newOutput(f, true, new(pace))
	defer out.release()
	_, err := out.Write(make([]byte, outputSize+1))
	if err := errors.Join(err, out.wait()); err != nil || !isDirect() {
		t.Errorf("a full buffer was not written directly: %v", err)
	}
	if err := out.flush(); err != nil || isDirect() {
		t.Errorf("the last byte was written directly: %v", err)
	}
}

// TestOutputOnLargerBlocks: a device that refuses the alignment gets the bytes
// through the page cache. A buffer at an odd address stands for such a device.
func TestOutputOnLargerBlocks(t *testing.T) {
	f := outputFile(t)
	content := bytes.Repeat([]byte("sealed"), outputSize/3)
	out := newOutput(f, true, new(pace))
	odd := make([]byte, outputSize+directAlign+1)[1:][:outputSize]
	out.buf = &odd
	if err := pieces(out, content, 100_000); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes were written, others were read: %d, %v", len(content), len(got), err)
	}
}

// TestOutputFails: that a write failed is told, at the latest by flush.
func TestOutputFails(t *testing.T) {
	for _, direct := range []bool{false, true} {
		f := outputFile(t)
		readOnly, err := os.Open(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		out := newOutput(readOnly, direct, new(pace))
		if err := pieces(out, make([]byte, outputSize), 1<<16); err == nil {
			t.Errorf("direct %v: a file that cannot be written was written", direct)
		}
		out.release()
		_ = readOnly.Close()
	}
}

// placed returns content that lies in memory, modulo a block, as it will in a
// file.
func placed(size int) []byte {
	b := make([]byte, size+directAlign)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (directAlign - 1)
	b = b[skip:][:size]
	_, _ = rand.NewChaCha8([32]byte{2}).Read(b)
	return b
}

// TestOutputFromPlace: what lies as it will in the file is not gathered, but
// for the block that two slices share, and arrives whole on every volume.
func TestOutputFromPlace(t *testing.T) {
	content := placed(5*outputSize + 321)
	for _, direct := range []bool{false, true} {
		for _, piece := range []int{directMin + directAlign, directMin + directAlign + 1, outputSize + 77, 2*outputSize - 16, 5 * outputSize} {
			t.Run(fmt.Sprintf("in %d direct %v", piece, direct), func(t *testing.T) {
				f := outputFile(t)
				out := newOutput(f, direct, new(pace))
				defer out.release()
				whole := len(content) / piece * piece
				for at := 0; at < whole; at += piece {
					if n, err := out.Write(content[at:][:piece]); n != piece || err != nil {
						t.Fatalf("%d of %d bytes: %v", n, piece, err)
					}
					if out.n >= directAlign || out.pending != nil {
						t.Errorf("after %d bytes, %d are gathered", at+piece, out.n)
					}
				}
				if err := pieces(out, content[whole:], piece); err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes were written, others were read: %d, %v", len(content), len(got), err)
				}
			})
		}
	}
}

// TestOutputFromPlaceOnLargerBlocks: a device that refuses the block that two
// slices share gets all through the page cache. A buffer at an odd address
// stands for such a device.
func TestOutputFromPlaceOnLargerBlocks(t *testing.T) {
	f := outputFile(t)
	content := placed(3*outputSize + 5)
	out := newOutput(f, true, new(pace))
	odd := make([]byte, outputSize+directAlign+1)[1:][:outputSize]
	out.buf = &odd
	if err := pieces(out, content, outputSize+3); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes were written, others were read: %d, %v", len(content), len(got), err)
	}
}

// TestOutputFromPlaceFails: that a write failed is told at once.
func TestOutputFromPlaceFails(t *testing.T) {
	for _, direct := range []bool{false, true} {
		readOnly, err := os.Open(outputFile(t).Name())
		if err != nil {
			t.Fatal(err)
		}
		out := newOutput(readOnly, direct, new(pace))
		if n, err := out.Write(placed(outputSize)); n != 0 || err == nil {
			t.Errorf("direct %v: a file that cannot be written took %d bytes", direct, n)
		}
		out.release()
		_ = readOnly.Close()
	}
}
