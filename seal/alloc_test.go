package seal

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/efs-project/efs/internal/israce"
)

// allocations counts what f allocates, the least of two times: a pool that
// the collector has just emptied is not f's doing.
func allocations(f func()) uint64 {
	least := ^uint64(0)
	for range 2 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	return least
}

// repeat gives the same bytes again and again.
type repeat struct {
	part []byte
	left int64
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.part[:min(r.left, int64(len(r.part)))])
	r.left -= int64(n)
	return n, nil
}

// A file of 16,384 segments takes as many allocations as one of 64, but for a
// few that the runtime makes for itself.
func TestNoAllocationForASegment(t *testing.T) {
	if israce.Enabled {
		t.Skip("under the race detector a sync.Pool forgets at random")
	}
	const short, long = 4 << 20, 1 << 30
	const slack = 64
	for name, p := range map[string]Params{"one stage": one(AES256GCM), "two stages": two()} {
		t.Run(name, func(t *testing.T) {
			p.SegmentSize = DefaultSegmentSize
			part := make([]byte, 1<<20)
			long := int64(long)
			if testing.Short() || name != "one stage" {
				long = 64 << 20
			}
			// The sealed bytes of a long file need not be kept: openers get a
			// shorter one that has segments enough to tell.
			const opened = 64 << 20
			sealed := map[int64][]byte{}
			for _, n := range []int64{short, opened} {
				sealed[n] = mustSeal(t, p, make([]byte, n))
			}
			o := testOpen()
			check := func(what string, n int64, f func(n int64)) {
				t.Helper()
				f(short) // fills the pools
				few, many := allocations(func() { f(short) }), allocations(func() { f(n) })
				if many > few+slack {
					t.Errorf("%s: %d allocations for %d MiB, %d for %d MiB", what, few, short>>20, many, n>>20)
				}
			}
			write := func(feed func(w *Writer, n int64) error) func(n int64) {
				return func(n int64) {
					w, err := NewWriter(io.Discard, &p)
					if err == nil {
						err = feed(w, n)
					}
					if err == nil {
						_, err = w.Close(Recovery{})
					}
					if err != nil {
						t.Error(err)
					}
				}
			}
			check("Writer.Write", long, write(func(w *Writer, n int64) (err error) {
				for ; n > 0 && err == nil; n -= int64(len(part)) {
					_, err = w.Write(part)
				}
				return err
			}))
			check("Writer.ReadFrom", long, write(func(w *Writer, n int64) error {
				_, err := w.ReadFrom(&repeat{part, n})
				return err
			}))
			check("Reader.Read", opened, func(n int64) {
				r, err := NewReader(bytes.NewReader(sealed[n]), o)
				for err == nil {
					_, err = r.Read(part)
				}
				if err != io.EOF {
					t.Error(err)
				}
			})
			check("Reader.WriteTo", opened, func(n int64) {
				r, err := NewReader(bytes.NewReader(sealed[n]), o)
				if err == nil {
					_, err = r.WriteTo(io.Discard)
				}
				if err != nil {
					t.Error(err)
				}
			})
			readerAt := func(read func(r *ReaderAt) error) func(n int64) {
				return func(n int64) {
					r, err := NewReaderAt(bytes.NewReader(sealed[n]), int64(len(sealed[n])), o)
					if err == nil {
						err = read(r)
						r.Close()
					}
					if err != nil {
						t.Error(err)
					}
				}
			}
			check("ReaderAt.ReadRange", opened, readerAt(func(r *ReaderAt) error { return r.ReadRange(io.Discard, 0, r.Size()) }))
			check("ReaderAt.ReadAt", opened, readerAt(func(r *ReaderAt) (err error) {
				for off := int64(0); off < r.Size() && err == nil; off += int64(len(part)) {
					_, err = r.ReadAt(part, off)
				}
				return err
			}))
		})
	}
}
