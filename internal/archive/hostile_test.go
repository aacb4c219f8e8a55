package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/efs-project/efs/seal"
)

// hostile makes the tar of an archive whose members are what a writer would
// never make.
func hostile(t *testing.T, w io.Writer, headers ...*tar.Header) {
	t.Helper()
	line, err := (&Info{FS: "drive", Path: "/", Sequence: 1, mark: "M"}).line()
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(w)
	head := &tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "h", Format: tar.FormatPAX, PAXRecords: map[string]string{"comment": line}}
	for _, h := range append([]*tar.Header{head}, headers...) {
		h.Format = tar.FormatPAX
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg && h.Size > 1<<20 {
			_, _ = w.Write(make([]byte, 4*block))
			return
		}
	}
}

// Sizes that no file has end the reading: they lead neither back nor nowhere.
func TestASizeBeyondAllBoundsEndsTheReading(t *testing.T) {
	for _, size := range []int64{math.MaxInt64, math.MaxInt64 - 511, math.MaxInt64 - 2048, 1 << 62} {
		var plain bytes.Buffer
		hostile(t, &plain, &tar.Header{Typeflag: tar.TypeReg, Name: "first", Size: 0}, &tar.Header{Typeflag: tar.TypeReg, Name: "huge", Size: size})
		rcpt, err := seal.PassphraseRecipient(pass, cheap)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w, err := NewSealer(&out, rcpt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(plain.Bytes()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(seal.Recovery{}); err != nil {
			t.Fatal(err)
		}
		for _, going := range []bool{false, true} {
			r, err := Open(bytes.NewReader(out.Bytes()), int64(out.Len()), passIDs, Options{KeepGoing: going})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for ; n < 10 && err == nil; n++ {
				_, err = r.Next()
			}
			if n == 10 {
				t.Errorf("size %d, keep going %v: the reading goes in circles", size, going)
			}
			if !going && (err == nil || err == io.EOF) {
				t.Errorf("size %d: taken for whole: %v", size, err)
			}
			r.Close()
		}
		r, err := OpenTar(bytes.NewReader(plain.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; n < 10 && err == nil; n++ {
			_, err = r.Next()
		}
		if n == 10 || err == nil || err == io.EOF {
			t.Errorf("size %d, streamed: %d, %v", size, n, err)
		}
	}
}

// A list of removed paths of which something is lost removes nothing: what is
// left of "letters/old" may be "letters".
func TestADamagedListOfRemovedPathsIsNotFollowed(t *testing.T) {
	info := testInfo()
	info.Since = 4000
	removed := make([]string, 40_000)
	for i := range removed {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		removed[i] = fmt.Sprintf("%05d/%x", i, sum)
	}
	b := sealed(t, info, removed, tree())
	b[len(b)*6/10] ^= 1
	r, err := Open(bytes.NewReader(b), int64(len(b)), passIDs, Options{KeepGoing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	files, gone, err := readAll(r)
	if err != nil || len(gone) != 0 || len(files) != len(tree()) {
		t.Errorf("%d members, %d removed, %v", len(files), len(gone), err)
	}
	if l := r.Losses(); len(l) != 1 || l[0].Member != removedName {
		t.Errorf("losses %v", l)
	}
}

// A list of removed paths is the first member of an incremental archive, and
// its paths are no longer than paths are: nothing else is gathered in memory.
func TestAListOfRemovedPathsKeepsToItsRules(t *testing.T) {
	list := func(size int64) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: removedName, Size: size, PAXRecords: map[string]string{recRemoved: "1"}}
	}
	for name, hs := range map[string][]*tar.Header{
		"in a full archive":  {list(0)},
		"not the first":      {{Typeflag: tar.TypeReg, Name: "a"}, list(0)},
		"a device":           {{Typeflag: tar.TypeChar, Name: "a"}},
		"a hard link":        {{Typeflag: tar.TypeLink, Name: "a", Linkname: "/etc/passwd"}},
		"out of the root":    {{Typeflag: tar.TypeReg, Name: "../a"}},
		"an absolute name":   {{Typeflag: tar.TypeReg, Name: "/a"}},
		"a file beneath dot": {{Typeflag: tar.TypeReg, Name: "a/./b"}},
	} {
		var plain bytes.Buffer
		hostile(t, &plain, hs...)
		plain.Write(make([]byte, 4*block))
		r, err := OpenTar(&plain)
		for i := 0; i < 5 && err == nil; i++ {
			_, err = r.Next()
		}
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := &Reader{src: &streamed{r: strings.NewReader(strings.Repeat("a", 1<<20) + "\x00")}, body: 1<<20 + 1}
	if err := r.EachRemoved(func(string) error { return nil }); !errors.Is(err, ErrFormat) || r.src.offset() > 64<<10 {
		t.Errorf("a path of a MiB: %v after %d bytes", err, r.src.offset())
	}
}
