package reader2

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/efs-project/efs/seal"
)

// spoil has files of several segments, of every kind of segment and slot, small
// enough to be altered everywhere.
func spoil(t testing.TB) map[string]seal.Params {
	t.Helper()
	two := stages(keyed(seal.AES256GCM, kekA, kekB), keyed(seal.ChaCha20Poly1305, kekB))
	return map[string]seal.Params{
		"two stages": {SegmentSize: 1 << 10, Stages: two},
		"zstd, padded": {SegmentSize: 1 << 10, FrameSize: 1 << 10, Compression: seal.CompressZstd, Padding: seal.PadPadme,
			Stages: two[1:]},
		"passphrase": {SegmentSize: 1 << 10, Stages: stages(passphrase(t, "secret", seal.Argon2Params{Time: 1, MemoryKiB: 8, Threads: 1}))},
	}
}

// TestBothReadersSeeEveryFlippedBit flips bits all over the file: each of the
// header's, and one in each few bytes after it.
func TestBothReadersSeeEveryFlippedBit(t *testing.T) {
	p := startPython(t)
	for name, params := range spoil(t) {
		plain := text(3300)
		whole := sealed(t, params, plain)
		segments := len(whole) - 16*len(params.Stages)*4 - 3300
		for i := 0; i < len(whole)*8; i++ {
			if i/8 > segments && i%211 != 0 || params.Stages[0].Suite == seal.AES256GCM && len(params.Stages) == 1 && i%7 != 0 {
				continue
			}
			b := bytes.Clone(whole)
			b[i/8] ^= 1 << (i % 8)
			g := &given{Sealed: b, Keys: bothKeys, Passphrase: "secret"}
			if a := agree(t, p, fmt.Sprintf("%s, bit %d of byte %d", name, i%8, i/8), g, plain); a.Kind == "" {
				t.Errorf("%s: bit %d of byte %d is flipped, and it opens", name, i%8, i/8)
			}
		}
	}
}

// TestBothReadersSeeEveryCut cuts the file after every byte of the header and of
// where segments begin and end, and many others, or goes on after its end.
func TestBothReadersSeeEveryCut(t *testing.T) {
	p := startPython(t)
	for name, params := range spoil(t) {
		plain := text(2100)
		whole := sealed(t, params, plain)
		segment := params.SegmentSize + 16*len(params.Stages)
		first, _ := apart(t, whole, params)
		for n := range whole {
			if at := (n - len(first)) % segment; at > 20 && at < segment-20 && n%13 != 0 {
				continue
			}
			g := &given{Sealed: whole[:n], Keys: bothKeys, Passphrase: "secret"}
			if a := agree(t, p, fmt.Sprintf("%s, cut after %d bytes", name, n), g, plain); a.Kind == "" {
				t.Errorf("%s: cut after %d bytes, and it opens", name, n)
			}
		}
		for _, n := range []int{1, 15, 16, 17, 1023, 1024, 1040, 1056, 5000} {
			g := &given{Sealed: append(bytes.Clone(whole), make([]byte, n)...), Keys: bothKeys, Passphrase: "secret"}
			if a := agree(t, p, fmt.Sprintf("%s, %d bytes after the end", name, n), g, plain); a.Kind == "" {
				t.Errorf("%s: %d bytes after its end, and it opens", name, n)
			}
		}
	}
}

// TestBothReadersSeeMovedSegments takes the segments of two files under the same
// keys and ids apart and puts them together otherwise.
func TestBothReadersSeeMovedSegments(t *testing.T) {
	p := startPython(t)
	for name, params := range spoil(t) {
		plain := text(5000)
		head, own := apart(t, sealed(t, params, plain), params)
		otherHead, foreign := apart(t, sealed(t, params, plain), params)
		last := len(own) - 1
		for what, segments := range map[string][][]byte{
			"swapped":          swap(own, 0, 1),
			"last swapped":     swap(own, last-1, last),
			"removed":          slices.Delete(slices.Clone(own), 1, 2),
			"first removed":    own[1:],
			"last removed":     own[:last],
			"two last removed": own[:last-1],
			"only the last":    own[last:],
			"none":             nil,
			"repeated":         slices.Insert(slices.Clone(own), 1, own[1]),
			"last repeated":    append(slices.Clone(own), own[last]),
			"all repeated":     append(slices.Clone(own), own...),
			"one of another":   append([][]byte{foreign[0]}, own[1:]...),
			"end of another":   append(slices.Clone(own[:last]), foreign[last]),
			"another file's":   foreign,
			"zeros":            append([][]byte{make([]byte, len(own[0]))}, own[1:]...),
		} {
			g := &given{Sealed: slices.Concat(append([][]byte{head}, segments...)...), Keys: bothKeys, Passphrase: "secret"}
			if a := agree(t, p, name+", "+what, g, plain); a.Kind == "" {
				t.Errorf("%s: segments %s, and it opens", name, what)
			}
		}
		g := &given{Sealed: slices.Concat(append([][]byte{otherHead}, foreign...)...), Keys: bothKeys, Passphrase: "secret"}
		if a := agree(t, p, name, g, plain); a.Kind != "" {
			t.Errorf("%s: put together as it was, it is %s", name, a.Text)
		}
	}
}

// apart is a sealed file as its header with the MAC, and its segments.
func apart(t testing.TB, b []byte, params seal.Params) (head []byte, segments [][]byte) {
	t.Helper()
	h, err := seal.ReadHeader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return b[:h.Size()], slices.Collect(slices.Chunk(b[h.Size():], params.SegmentSize+16*len(params.Stages)))
}

func swap(s [][]byte, i, j int) [][]byte {
	s = slices.Clone(s)
	s[i], s[j] = s[j], s[i]
	return s
}

// TestBothReadersSeeASwappedFile: a file that is whole, but another one.
func TestBothReadersSeeASwappedFile(t *testing.T) {
	p := startPython(t)
	plain := []byte("hello")
	b := sealed(t, seal.Params{Stages: stages(keyed(seal.AES256GCM, kekA))}, plain)
	for _, c := range []struct {
		fs, content [16]byte
		want        string
	}{
		{fsID, contentID, ""},
		{fsID, [16]byte{1}, "tampered"},
		{[16]byte{1}, contentID, "tampered"},
	} {
		g := &given{Sealed: b, Keys: bothKeys, FS: fmt.Sprintf("%x", c.fs), Content: fmt.Sprintf("%x", c.content)}
		if a := agree(t, p, "swapped", g, plain); a.Kind != c.want {
			t.Errorf("%x %x: %q, want %q", c.fs, c.content, a.Kind, c.want)
		}
	}
}
