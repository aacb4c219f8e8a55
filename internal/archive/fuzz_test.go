package archive

import (
	"bytes"
	"io"
	"testing"

	"github.com/efs-project/efs/seal"
)

// FuzzReader reads tars that somebody who has the keys made with evil in mind:
// whole, and with a part of them lost. It must come to an end, and give no name
// that leads elsewhere.
func FuzzReader(f *testing.F) {
	var b bytes.Buffer
	writeTar(f, &b, testInfo(), []string{"gone"}, tree()[:4])
	f.Add(b.Bytes(), uint16(1000), uint16(700), true)
	f.Add(b.Bytes()[:2000], uint16(0), uint16(0), false)
	f.Fuzz(func(t *testing.T, plain []byte, at, n uint16, exact bool) {
		if r, err := OpenTar(bytes.NewReader(plain)); err == nil {
			drain(t, r, len(plain))
		}
		s := &blocks{
			get: func(dst []byte, i int64) ([]byte, error) {
				if i*1024 >= int64(len(plain)) {
					return dst, io.EOF
				}
				return append(dst, plain[i*1024:min((i+1)*1024, int64(len(plain)))]...), nil
			},
			closer: io.NopCloser(nil), block: 1024, length: int64(len(plain)), index: -1,
		}
		if n > 0 && int(at) < len(plain) {
			s.gaps = []seal.Lost{{Offset: int64(at), Length: min(int64(n), int64(len(plain)-int(at))), Exact: exact}}
		}
		if r, err := newReader(s, nil, Options{KeepGoing: true}); err == nil {
			drain(t, r, len(plain))
		}
	})
}

func drain(t *testing.T, r *Reader, size int) {
	defer r.Close()
	for range size/block + 2 {
		m, err := r.Next()
		if err != nil {
			return
		}
		if !ValidName(m.Name) {
			t.Fatalf("%q came out", m.Name)
		}
		if m.Removed {
			_ = r.EachRemoved(func(p string) error { return nil })
			continue
		}
		_, _ = io.CopyN(io.Discard, r, int64(size)) // what is lost reads as zeros, however much it is
	}
	t.Fatal("more members than blocks")
}
