package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs/internal/israce"
)

// salvage returns what a damaged file still gives, zeros where it is lost.
func salvage(t *testing.T, damaged []byte) ([]byte, *Salvage) {
	t.Helper()
	s, err := NewSalvage(bytes.NewReader(damaged), int64(len(damaged)), testOpen())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	out := make([]byte, s.Size())
	size := int64(s.BlockSize())
	for i := int64(0); ; i++ {
		block, err := s.ReadBlock(nil, i)
		if err == io.EOF {
			return out, s
		}
		lost := false
		for _, l := range s.Lost() {
			lost = lost || i*size < l.Offset+l.Length && i*size+size > l.Offset
		}
		if lost != (err != nil) {
			t.Fatalf("block %d of %d bytes: %v, but lost is %v", i, size, err, s.Lost())
		}
		if err == nil {
			copy(out[i*size:], block)
		}
	}
}

func lostBytes(s *Salvage) (n int64) {
	for _, l := range s.Lost() {
		n += l.Length
	}
	return n
}

// noise does not compress; text does.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestSalvageOfAWholeFileGivesAllOfIt(t *testing.T) {
	for name, p := range variants() {
		for _, n := range []int{0, 1, 1023, 1024, 5000, 300 << 10} {
			plain := text(n)
			got, s := salvage(t, mustSeal(t, p, plain))
			if !bytes.Equal(got, plain) || len(s.Lost()) != 0 || s.Trailer() == nil || s.Trailer().Size != int64(n) {
				t.Fatalf("%s, %d bytes: got %d, lost %v", name, n, len(got), s.Lost())
			}
		}
	}
}

// TestADamagedSegmentCostsNoMoreThanItHolds damages each segment in turn: all
// plaintext is given out but that of the frames that lie in it, and what is
// lost is told exactly.
func TestADamagedSegmentCostsNoMoreThanItHolds(t *testing.T) {
	for name, p := range map[string]Params{"plain": one(AES256GCM), "two stages": two(), "zstd": zstded(one(AES256GCM)), "zstd, padded": padded(zstded(two()))} {
		for what, plain := range map[string][]byte{"text": text(200<<10 + 77), "noise": noise(150 << 10)} {
			sealed := mustSeal(t, p, plain)
			whole, s := salvage(t, sealed)
			if !bytes.Equal(whole, plain) {
				t.Fatal("not whole")
			}
			start, full, count := s.r.start, s.r.lay.sealed(), s.r.count
			ends, dataEnd := s.frames, s.r.lay.data
			for i := int64(0); i < count-1; i++ {
				damaged := bytes.Clone(sealed)
				damaged[start+i*full+rand.Int64N(full)] ^= 0x40
				got, s := salvage(t, damaged)
				if s.Trailer() == nil { // part of the end block
					if !bytes.HasPrefix(plain, got) || int64(len(plain)-len(got)) > full+int64(p.FrameSize) {
						t.Fatalf("%s, %s, segment %d of %d: got %d bytes of %d", name, what, i, count, len(got), len(plain))
					}
					continue
				}
				most := full
				for f, at := range ends { // frames that lie in segment i
					end := dataEnd
					if f+1 < len(ends) {
						end = ends[f+1]
					}
					if at < (i+1)*s.r.lay.segment && end > i*s.r.lay.segment {
						most += int64(p.FrameSize)
					}
				}
				if lostBytes(s) > most || len(got) != len(plain) {
					t.Fatalf("%s, %s, segment %d of %d: lost %v of %d bytes", name, what, i, count, s.Lost(), len(plain))
				}
				want := bytes.Clone(plain)
				for _, l := range s.Lost() {
					if !l.Exact {
						t.Fatalf("%s: not exact: %v", name, l)
					}
					clear(want[l.Offset : l.Offset+l.Length])
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("%s, %s, segment %d: wrong bytes; lost %v", name, what, i, s.Lost())
				}
			}
		}
	}
}

// TestWhatIsBeforeACutIsGivenOut cuts a file at many places.
func TestWhatIsBeforeACutIsGivenOut(t *testing.T) {
	for name, p := range map[string]Params{"plain": one(AES256GCM), "zstd": zstded(one(AES256GCM)), "zstd, padded": padded(zstded(two()))} {
		plain := append(text(60<<10), noise(60<<10)...)
		sealed := mustSeal(t, p, plain)
		_, s := salvage(t, sealed)
		start, full := s.r.start, s.r.lay.sealed()
		step := int64(331)
		if israce.Enabled {
			step *= 6
		}
		for at := start; at < int64(len(sealed)); at += step {
			got, s := salvage(t, sealed[:at])
			if !bytes.HasPrefix(plain, got) {
				t.Fatalf("%s, cut at %d: wrong bytes", name, at)
			}
			l := s.Lost()
			if s.Trailer() != nil || len(l) != 1 || l[0].Exact || l[0].Offset != int64(len(got)) {
				t.Fatalf("%s, cut at %d: %d bytes, lost %v", name, at, len(got), l)
			}
			segments := (at - start) / full // whole ones
			if least := min(segments*s.r.lay.segment, int64(len(plain))-full) - int64(p.FrameSize); p.Compression == CompressNone && int64(len(got)) < least {
				t.Fatalf("%s, cut at %d: %d bytes of at least %d", name, at, len(got), least)
			}
			if p.Compression != CompressNone { // every frame that ended before the cut
				whole := 0
				for whole+1 < len(s.frames) && s.frames[whole+1] <= segments*s.r.lay.segment {
					whole++
				}
				if len(got) < whole*p.FrameSize {
					t.Fatalf("%s, cut at %d: %d bytes of %d frames", name, at, len(got), whole)
				}
			}
		}
	}
}

// TestFramesAreFoundAgainWithoutTable cuts the end off and damages the middle:
// what comes after the gap is looked for.
func TestFramesAreFoundAgainWithoutTable(t *testing.T) {
	p := zstded(one(AES256GCM))
	for what, plain := range map[string][]byte{"text": text(100 << 10), "noise": noise(100 << 10)} {
		sealed := mustSeal(t, p, plain)
		_, whole := salvage(t, sealed)
		full := whole.r.lay.sealed()
		for seg := int64(0); seg < whole.r.count-4; seg++ {
			damaged := bytes.Clone(sealed[:int64(len(sealed))-full-100])
			damaged[whole.r.start+seg*full+5] ^= 1
			got, s := salvage(t, damaged)
			if len(s.Lost()) != 2 && seg > 0 {
				t.Fatalf("%s, segment %d: lost %v", what, seg, s.Lost())
			}
			gap := s.Lost()[0]
			if !bytes.Equal(got[:gap.Offset], plain[:gap.Offset]) {
				t.Fatalf("%s, segment %d: wrong bytes before the gap", what, seg)
			}
			after := got[gap.Offset+gap.Length:]
			if !bytes.Contains(plain, after) || len(after) < len(plain)-int(gap.Offset)-int(full)*12 {
				t.Fatalf("%s, segment %d: %d bytes after the gap %v of %d", what, seg, len(after), gap, len(plain))
			}
		}
	}
}

func TestNothingIsSalvagedWithoutKeysOrHeader(t *testing.T) {
	sealed := mustSeal(t, one(AES256GCM), text(5000))
	o := testOpen()
	o.Identities = nil
	if _, err := NewSalvage(bytes.NewReader(sealed), int64(len(sealed)), o); !errors.Is(err, ErrNoKey) {
		t.Fatal(err)
	}
	for i := range 12 + 40 {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 1
		if _, err := NewSalvage(bytes.NewReader(damaged), int64(len(damaged)), testOpen()); err == nil {
			t.Fatalf("byte %d of the header changed, and it was opened", i)
		}
	}
}

// TestSalvageOfVectors: what breaks a rule under right keys does no harm, and
// what opens at all is the plaintext that was sealed.
func TestSalvageOfVectors(t *testing.T) {
	files, err := filepath.Glob(vectorDir + "/*.json")
	if err != nil || len(files) < 40 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(file, err)
		}
		s, err := NewSalvage(bytes.NewReader(v.Sealed), int64(len(v.Sealed)), v.open())
		if err != nil {
			if v.Error == "" {
				t.Errorf("%s: %v", file, err)
			}
			continue
		}
		var got []byte
		for i := int64(0); ; i++ {
			block, err := s.ReadBlock(nil, i)
			if err == io.EOF {
				break
			}
			if err != nil && v.Error == "" {
				t.Errorf("%s: block %d: %v", file, i, err)
			}
			if err != nil {
				break
			}
			got = append(got, block...)
		}
		if v.Error == "" && (!bytes.Equal(got, v.Plaintext) || len(s.Lost()) > 0) {
			t.Errorf("%s: %d bytes of %d, lost %v", file, len(got), len(v.Plaintext), s.Lost())
		}
		s.Close()
	}
}
