package seal

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/efs-project/efs/internal/israce"
)

// isRefusal reports whether err is one of the kinds that damage may give.
func isRefusal(err error) bool {
	for _, kind := range []error{ErrTampered, ErrTruncated, ErrFormat, ErrUnsupported, ErrNoKey} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// checkRefused opens damaged in every way: each must fail, and what was given
// out before must be the beginning of plain.
func checkRefused(t *testing.T, what string, damaged, plain []byte) {
	t.Helper()
	for with, open := range openers {
		got, tr, err := open(damaged, testOpen())
		if err == nil || !isRefusal(err) {
			t.Fatalf("%s: %s says %v", what, with, err)
		}
		if !bytes.HasPrefix(plain, got) {
			t.Fatalf("%s: %s gave out wrong bytes", what, with)
		}
		if tr != nil {
			t.Fatalf("%s: %s gave out a trailer", what, with)
		}
	}
}

// checkRanges reads every kibibyte of damaged by itself, with and without
// knowing the lengths: an error, or the right bytes.
func checkRanges(t *testing.T, what string, damaged, plain []byte, size int) {
	t.Helper()
	for _, known := range []bool{false, true} {
		o := testOpen()
		if known {
			o.Size, o.PlainSize = int64(size), int64(len(plain))
		}
		r, err := NewReaderAt(bytes.NewReader(damaged), int64(len(damaged)), o)
		if err != nil {
			continue
		}
		for off := 0; off < len(plain); off += 1 << 10 {
			buf := make([]byte, 1500)
			n, err := r.ReadAt(buf, int64(off))
			if err != nil && err != io.EOF {
				if n != 0 || !bytes.Equal(buf, make([]byte, len(buf))) {
					t.Fatalf("%s: a failed ReadAt left something in the buffer", what)
				}
				continue
			}
			if !bytes.HasPrefix(plain[off:], buf[:n]) || n < min(len(buf), len(plain)-off) {
				t.Fatalf("%s: ReadAt at %d gave out wrong bytes", what, off)
			}
		}
		if r.Verify() == nil {
			t.Fatalf("%s: Verify found nothing", what)
		}
		r.Close()
	}
}

// each yields the offsets of a file of n bytes; one of six with the race
// detector, which finds nothing here and multiplies the time.
func each(n int) iter.Seq2[int, int] {
	first, step := 0, 1
	if israce.Enabled {
		first, step = rand.IntN(6), 6
	}
	return func(yield func(nth, at int) bool) {
		for nth, at := 0, first; at < n && yield(nth, at); nth, at = nth+1, at+step {
		}
	}
}

func TestEveryFlippedByteIsFound(t *testing.T) {
	for name, p := range variants() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{0, 100, 2500} {
				plain := text(n)
				sealed := mustSeal(t, p, plain)
				for nth, i := range each(len(sealed)) {
					damaged := bytes.Clone(sealed)
					damaged[i] ^= 1 << (i % 8)
					checkRefused(t, name+", a bit flipped", damaged, plain)
					if nth%7 == 0 {
						checkRanges(t, name+", a bit flipped", damaged, plain, len(sealed))
					}
				}
			}
		})
	}
}

func TestEveryCutAndExtensionIsFound(t *testing.T) {
	for name, p := range variants() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain := text(2500)
			sealed := mustSeal(t, p, plain)
			for nth, i := range each(len(sealed)) {
				checkRefused(t, name+", cut", sealed[:i], plain)
				if nth%7 == 0 {
					checkRanges(t, name+", cut", sealed[:i], plain, len(sealed))
				}
			}
			for _, more := range []int{1, 16, 1024, 1040, 1056, 5000} {
				longer := append(bytes.Clone(sealed), make([]byte, more)...)
				checkRefused(t, name+", extended", longer, plain)
				checkRanges(t, name+", extended", longer, plain, len(sealed))
			}
			o := testOpen()
			o.Size = int64(len(sealed))
			for _, open := range openers {
				if _, _, err := open(sealed[:len(sealed)-1], o); !errors.Is(err, ErrTruncated) {
					t.Fatalf("%s: cut below the length expected: %v", name, err)
				}
			}
		})
	}
}

// TestSegmentsKeepTheirPlaces removes, repeats and swaps each pair of segments.
func TestSegmentsKeepTheirPlaces(t *testing.T) {
	for name, p := range variants() {
		plain := text(6000)
		sealed := mustSeal(t, p, plain)
		start, segments := cutSegments(t, sealed)
		build := func(order ...int) []byte {
			b := bytes.Clone(sealed[:start])
			for _, i := range order {
				b = append(b, segments[i]...)
			}
			return b
		}
		n := len(segments)
		for i := range n {
			order := make([]int, 0, n+1)
			for k := range n {
				if k != i {
					order = append(order, k)
				}
			}
			checkRefused(t, name+", a segment removed", build(order...), plain)
			for j := range n {
				swapped, repeated := make([]int, n), make([]int, 0, n+1)
				for k := range n {
					swapped[k] = k
					repeated = append(repeated, k)
					if k == i {
						repeated = append(repeated, j)
					}
				}
				checkRefused(t, name+", a segment repeated", build(repeated...), plain)
				if i != j {
					swapped[i], swapped[j] = j, i
					checkRefused(t, name+", segments swapped", build(swapped...), plain)
				}
			}
		}
	}
}

// cutSegments returns where the segments begin, and the segments.
func cutSegments(t *testing.T, sealed []byte) (start int, segments [][]byte) {
	t.Helper()
	h, err := ReadHeader(bytes.NewReader(sealed))
	if err != nil {
		t.Fatal(err)
	}
	full := h.SegmentSize + tagLen*len(h.Stages)
	for rest := sealed[h.Size():]; len(rest) > 0; {
		n := min(full, len(rest))
		segments = append(segments, rest[:n])
		rest = rest[n:]
	}
	return h.Size(), segments
}

// TestNothingMovesBetweenFiles splices two files with the same keys, lengths,
// file system and content id (as two versions of one content would have).
func TestNothingMovesBetweenFiles(t *testing.T) {
	for name, p := range variants() {
		plainA, plainB := text(6000), bytes.Repeat([]byte("x"), 6000)
		a, b := mustSeal(t, p, plainA), mustSeal(t, p, plainB)
		startA, segsA := cutSegments(t, a)
		_, segsB := cutSegments(t, b)
		for i := range min(len(segsA), len(segsB)) {
			spliced := bytes.Clone(a[:startA])
			for k := range segsA {
				if k == i {
					spliced = append(spliced, segsB[k]...)
				} else {
					spliced = append(spliced, segsA[k]...)
				}
			}
			checkRefused(t, name+", a segment of another file", spliced, plainA)
		}
		checkRefused(t, name+", another file's header", append(bytes.Clone(b[:startA]), a[startA:]...), plainA)
	}
}

func TestAFileIsBoundToItsPlace(t *testing.T) {
	p := one(AES256GCM)
	plain := text(3000)
	sealed := mustSeal(t, p, plain)
	other := func(change func(o *Open)) *Open {
		o := testOpen()
		change(o)
		return o
	}
	for with, open := range openers {
		for _, o := range []*Open{
			other(func(o *Open) { o.FS[3]++ }),
			other(func(o *Open) { o.Content[0]++ }),
			other(func(o *Open) { o.Content = [16]byte{} }),
			other(func(o *Open) { o.PlainSize = 2999 }),
			other(func(o *Open) { o.PlainSize = 3001 }),
			other(func(o *Open) { o.Size = int64(len(sealed)) - 1 }),
		} {
			if got, _, err := open(sealed, o); !errors.Is(err, ErrTampered) || !bytes.HasPrefix(plain, got) {
				t.Errorf("%s: a file that is not the one expected: %v", with, err)
			}
		}
		if _, _, err := open(sealed, other(func(o *Open) { o.FS, o.Content, o.Any = [16]byte{}, [16]byte{}, true })); err != nil {
			t.Errorf("%s: any file: %v", with, err)
		}
		if _, _, err := open(sealed, other(func(o *Open) { o.Identities = []Identity{ring(kekB)} })); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: without the key: %v", with, err)
		}
	}
	// Both keys of a file with two stages are needed.
	sealed = mustSeal(t, two(), plain)
	for _, k := range []testKEK{kekA, kekB} {
		if _, _, err := OpenBytes(nil, sealed, other(func(o *Open) { o.Identities = []Identity{ring(k)} })); !errors.Is(err, ErrNoKey) {
			t.Errorf("two stages opened with one key: %v", err)
		}
	}
}
