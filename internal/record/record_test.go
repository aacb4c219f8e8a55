package record

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"pgregory.net/rapid"
)

func newSealer(t testing.TB, fs efs.ID, seed byte) *Sealer {
	t.Helper()
	s, err := New(fs, bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealedRecordsOpenWhereTheyWereSealed(t *testing.T) {
	s := newSealer(t, efs.NewID(), 1)
	rapid.Check(t, func(t *rapid.T) {
		space := efs.Space(rapid.IntRange(1, efs.Spaces).Draw(t, "space"))
		key := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "key")
		plain := rapid.SliceOfN(rapid.Byte(), 0, 9000).Draw(t, "plain")
		sealed, err := s.Seal(space, key, plain)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != Overhead+paddedSize(len(plain)) {
			t.Fatalf("%d bytes sealed to %d", len(plain), len(sealed))
		}
		got, err := s.Open(space, key, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("opened %x, %v; want %x", got, err, plain)
		}
	})
}

func TestARecordOpensNowhereElse(t *testing.T) {
	fs := efs.NewID()
	s := newSealer(t, fs, 1)
	key := []byte("directory and token")
	sealed, err := s.Seal(efs.SpaceEntries, key, []byte("an entry"))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, efs.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", what, err)
		}
	}
	_, err = s.Open(efs.SpaceEntries, []byte("directory and other"), sealed)
	refused("under another key", err)
	_, err = s.Open(efs.SpaceFiles, key, sealed)
	refused("in another space", err)
	_, err = newSealer(t, efs.NewID(), 1).Open(efs.SpaceEntries, key, sealed)
	refused("in another file system", err)
	_, err = newSealer(t, fs, 2).Open(efs.SpaceEntries, key, sealed)
	refused("under another root", err)
	_, err = s.OpenChange(sealed)
	refused("as a change", err)
	_, err = s.OpenHead(sealed)
	refused("as a head", err)
	for i := range sealed {
		sealed[i] ^= 1
		_, err = s.Open(efs.SpaceEntries, key, sealed)
		refused("flipped", err)
		sealed[i] ^= 1
	}
	for n := range sealed {
		_, err = s.Open(efs.SpaceEntries, key, sealed[:n])
		refused("cut", err)
	}
}

func TestLengthsShowOnlyAFewSizes(t *testing.T) {
	seen := map[int]bool{}
	for n := range 8000 {
		size := paddedSize(n)
		if size <= n {
			t.Fatalf("%d bytes padded to %d", n, size)
		}
		seen[size] = true
	}
	if len(seen) > 12 {
		t.Errorf("%d different sizes below 8000 bytes", len(seen))
	}
}

func TestHeads(t *testing.T) {
	s := newSealer(t, efs.NewID(), 1)
	h := efs.Head{FS: s.fs, Revision: 7, Seq: 9, Time: time.Now().UnixMicro()}
	h.Link = s.Link([32]byte{1}, 9, []byte("change"))
	got, err := s.OpenHead(s.SealHead(h))
	if err != nil || got != h {
		t.Errorf("head %+v, %v; want %+v", got, err, h)
	}
	if h.Link == s.Link([32]byte{2}, 9, []byte("change")) || h.Link == s.Link([32]byte{1}, 8, []byte("change")) ||
		h.Link == s.Link([32]byte{1}, 9, []byte("chance")) {
		t.Error("a link does not cover the link before it, its number and its change")
	}
	foreign := h
	foreign.FS = efs.NewID()
	if _, err := s.OpenHead(s.SealHead(foreign)); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("head of another file system: %v", err)
	}
}

func TestTokens(t *testing.T) {
	root := bytes.Repeat([]byte{3}, 32)
	n, err := NewNames(root)
	if err != nil {
		t.Fatal(err)
	}
	hm := func(key []byte, parts ...string) []byte {
		m := hmac.New(sha256.New, key)
		for _, p := range parts {
			m.Write([]byte(p))
		}
		return m.Sum(nil)
	}
	dir := efs.NewID()
	for _, name := range []string{"a", "prescription.pdf", string(bytes.Repeat([]byte("x"), efs.MaxSegment))} {
		want := hm(hm(root, "efs name key", string(dir[:])), name)[:16]
		for range 2 { // computed, then from the cache
			if got := n.Entry(dir, name); !bytes.Equal(got[:], want) {
				t.Errorf("token of %q is %x, want %x", name, got, want)
			}
		}
		if n.Entry(efs.NewID(), name) == n.Entry(dir, name) {
			t.Errorf("%q has the same token in two directories", name)
		}
	}
	name := "app1"
	want := hm(hm(hm(root, "efs access key"), "user"), name)[:16]
	if got := n.Access("user", &name); !bytes.Equal(got[:], want) {
		t.Errorf("access token %x, want %x", got, want)
	}
}

func BenchmarkSealEntry(b *testing.B) {
	s := newSealer(b, efs.NewID(), 1)
	key, plain := make([]byte, 32), make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Seal(efs.SpaceEntries, key, plain); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenEntry(b *testing.B) {
	s := newSealer(b, efs.NewID(), 1)
	key := make([]byte, 32)
	sealed, err := s.Seal(efs.SpaceEntries, key, make([]byte, 200))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Open(efs.SpaceEntries, key, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkToken(b *testing.B) {
	n, err := NewNames(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	dir := efs.NewID()
	b.ReportAllocs()
	for b.Loop() {
		n.Entry(dir, "prescription.pdf")
	}
}

// In place, the plaintext lies where the sealed bytes were, and a record that
// does not open leaves none there.
func TestOpenInPlace(t *testing.T) {
	s := newSealer(t, efs.NewID(), 1)
	plain := []byte("an entry of an index")
	sealed, err := s.Seal(efs.SpaceEntries, []byte("key"), plain)
	if err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(sealed)
	got, err := s.OpenInPlace(efs.SpaceEntries, []byte("key"), sealed)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("got %q, %v", got, err)
	}
	if &got[0] != &sealed[1+nonceSize] {
		t.Error("the plaintext lies elsewhere")
	}
	if _, err := s.OpenInPlace(efs.SpaceEntries, []byte("another"), whole); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("under another key: %v", err)
	}
	if bytes.Contains(whole, plain) {
		t.Error("plaintext that was not authenticated is left")
	}
}
