package seal

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

// largeFile is a sealed file that is not stored anywhere: each segment is
// sealed when it is read. payload fills b from an offset of the payload as it
// is laid out in segments.
type largeFile struct {
	prefix  []byte
	cipher  *segmentCipher
	lay     layout
	payload func(b []byte, off int64)
}

func (f *largeFile) size() int64 { return int64(len(f.prefix)) + f.lay.physical() }

func (f *largeFile) ReadAt(p []byte, off int64) (int, error) {
	start, n := int64(len(f.prefix)), 0
	if off < start {
		n = copy(p, f.prefix[off:])
	}
	count := f.lay.segments(f.lay.payload())
	var nc nonce
	for n < len(p) && off+int64(n) < f.size() {
		at := off + int64(n) - start
		i := at / f.lay.sealed()
		plain := make([]byte, min(f.lay.segment, f.lay.payload()-i*f.lay.segment), f.lay.sealed())
		f.payload(plain, i*f.lay.segment)
		sealed := f.cipher.seal(plain, plain, &nc, f.lay.kindOf(i), i, i == count-1)
		n += copy(p[n:], sealed[at-i*f.lay.sealed():])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// number is what stands at every offset of a large file: that offset, as 8
// bytes for each multiple of 8.
func number(b []byte, off int64) {
	var word [8]byte
	for i := range b {
		at := off + int64(i)
		binary.BigEndian.PutUint64(word[:], uint64(at&^7))
		b[i] = word[at&7]
	}
}

func newLargeFile(t *testing.T, p Params, data, table, size int64) *largeFile {
	t.Helper()
	h, mac, c, err := sealHeader(&p)
	if err != nil {
		t.Fatal(err)
	}
	rec := record(&Trailer{Size: size, Recovery: testRecovery})
	f := &largeFile{prefix: append(append([]byte(nil), h.raw...), mac[:]...), cipher: c}
	f.lay = layout{segment: int64(h.SegmentSize), tags: int64(c.overhead()), data: data, table: table, record: int64(len(rec))}
	f.lay.pad(p.Padding)
	ending := append(append([]byte(nil), rec...), f.lay.appendSuffix(nil)...)
	f.payload = func(b []byte, off int64) {
		for i := range b {
			f.fillByte(&b[i], off+int64(i), ending)
		}
	}
	return f
}

// fillByte finds which part of the payload an offset in the segments lies in.
func (f *largeFile) fillByte(b *byte, at int64, ending []byte) {
	l := &f.lay
	d, t, p := l.dataSegments()*l.segment, l.tableSegments()*l.segment, l.paddingSegments()*l.segment
	var one [1]byte
	switch {
	case at < d:
		f.data(one[:], at)
	case at < d+t:
		f.table(one[:], at-d)
	case at < d+t+p:
	default:
		at -= d + t + p
		if at < l.data-d {
			f.data(one[:], d+at)
		} else if at -= l.data - d; at < l.table-t {
			f.table(one[:], t+at)
		} else if at -= l.table - t; at >= l.padding-p {
			one[0] = ending[at-(l.padding-p)]
		}
	}
	*b = one[0]
}

// data is number; with frames, each of them stored as it is.
func (f *largeFile) data(b []byte, off int64) {
	if f.lay.table == 0 {
		number(b, off)
		return
	}
	const stored = frameHeadLen + MaxFrameSize
	frame, in := off/stored, off%stored
	if in < frameHeadLen {
		var head [frameHeadLen]byte
		binary.BigEndian.PutUint32(head[:], MaxFrameSize)
		binary.BigEndian.PutUint32(head[4:], MaxFrameSize)
		b[0] = head[in]
		return
	}
	number(b, frame*MaxFrameSize+in-frameHeadLen)
}

func (f *largeFile) table(b []byte, off int64) {
	var entry [8]byte
	binary.BigEndian.PutUint64(entry[:], uint64((off/8+1)*(frameHeadLen+MaxFrameSize)))
	b[0] = entry[off%8]
}

func TestOffsetsBeyond4GiB(t *testing.T) {
	const size = 6 << 30
	plain := padded(one(AES256GCM))
	plain.SegmentSize = 4 << 10
	framed := zstded(plain)
	framed.FrameSize = MaxFrameSize
	const frames = size / MaxFrameSize
	for name, f := range map[string]*largeFile{
		"plain":  newLargeFile(t, plain, size+12345, 0, size+12345),
		"frames": newLargeFile(t, framed, frames*(frameHeadLen+MaxFrameSize), frames*tableEntryLen, size),
	} {
		r, err := NewReaderAt(f, f.size(), testOpen())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, off := range []int64{0, 1<<32 - 5, 1 << 32, 1<<32 + 1<<20 - 3, 5<<30 + 77, r.Size() - 10} {
			want := make([]byte, 10)
			number(want, off)
			got := make([]byte, 10)
			if n, err := r.ReadAt(got, off); n != 10 || err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: at %d: %x, want %x (%v)", name, off, got, want, err)
			}
		}
		if tr, err := r.Trailer(); err != nil || tr.Size != r.Size() || tr.Recovery.Path != testRecovery.Path {
			t.Errorf("%s: trailer %+v, %v", name, tr, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
