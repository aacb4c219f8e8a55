package archive

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/efs-project/efs/seal"
)

// TestDamageEndsTheReading alters an archive everywhere: what comes out before
// the error is what was put in.
func TestDamageEndsTheReading(t *testing.T) {
	want := many(150)
	b := sealed(t, testInfo(), nil, want)
	for range 8 {
		damaged := bytes.Clone(b)
		at := rand.IntN(len(b))
		damaged[at] ^= 1 << rand.IntN(8)
		var got []file
		r, err := Open(bytes.NewReader(damaged), int64(len(damaged)), passIDs, Options{})
		if err == nil {
			got, _, err = readAll(r)
			r.Close()
		}
		if !errors.Is(err, seal.ErrTampered) && !errors.Is(err, seal.ErrFormat) && !errors.Is(err, seal.ErrUnsupported) && !errors.Is(err, seal.ErrNoKey) && !errors.Is(err, seal.ErrTruncated) {
			t.Fatalf("byte %d changed: %v", at, err)
		}
		checkBeginning(t, got, want)
	}
}

// TestACutIsKnownBeforeAnythingComesOut: the end of a file is opened first.
func TestACutIsKnownBeforeAnythingComesOut(t *testing.T) {
	want := many(150)
	b := sealed(t, testInfo(), nil, want)
	for range 6 {
		at := rand.IntN(len(b))
		r, err := Open(bytes.NewReader(b[:at]), int64(at), passIDs, Options{})
		if err == nil || !errors.Is(err, seal.ErrTruncated) && !errors.Is(err, seal.ErrTampered) {
			t.Fatalf("cut at %d of %d: %v, %v", at, len(b), r, err)
		}
		s, err := OpenStream(bytes.NewReader(b[:at]), passIDs)
		if err != nil {
			continue
		}
		got, _, err := readAll(s)
		if err == nil {
			t.Fatalf("cut at %d of %d: the stream is whole", at, len(b))
		}
		checkBeginning(t, got, want)
		s.Close()
	}
}

func checkBeginning(t *testing.T, got, want []file) {
	t.Helper()
	if len(got) > len(want) {
		t.Fatal("more members than there are")
	}
	for i := range got {
		if got[i].Name != want[i].Name || got[i].data != want[i].data {
			t.Fatalf("member %d is another", i)
		}
	}
}

// TestKeepingGoingTellsExactlyWhatIsLost damages places, and adds up: every
// member comes out whole, or is named with the bytes it lacks, or is counted
// among those whose names are lost.
func TestKeepingGoingTellsExactlyWhatIsLost(t *testing.T) {
	want := many(250)
	b := sealed(t, testInfo(), nil, want)
	for round := range 8 {
		damaged := bytes.Clone(b)
		for range 1 + round%4 {
			damaged[600+rand.IntN(len(b)-600)] ^= 4
		}
		if round%5 == 4 {
			damaged = damaged[:len(damaged)/2+rand.IntN(len(damaged)/2)]
		}
		r, err := Open(bytes.NewReader(damaged), int64(len(damaged)), passIDs, Options{KeepGoing: true})
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := readAll(r)
		if err != nil {
			t.Fatal(err)
		}
		checkLosses(t, r, got, want)
		r.Close()
	}
}

func checkLosses(t *testing.T, r *Reader, got, want []file) {
	t.Helper()
	next, nameless := 0, int64(0)
	for _, g := range got {
		i := slices.IndexFunc(want[next:], func(w file) bool { return w.Name == g.Name })
		if i < 0 {
			t.Fatalf("%q is none of the members, or out of order", g.Name)
		}
		nameless += int64(i)
		next += i + 1
		w := []byte(want[next-1].data)
		for _, l := range g.Lost {
			clear(w[l.From:l.To])
		}
		if g.data != string(w) {
			t.Fatalf("%q has wrong contents; lost of it is %v", g.Name, g.Lost)
		}
	}
	nameless += int64(len(want) - next)
	told, open := int64(0), false
	for _, l := range r.Losses() {
		if l.Member != "" {
			if !slices.ContainsFunc(got, func(g file) bool { return g.Name == l.Member && slices.Equal(g.Lost, l.Ranges) }) {
				t.Fatalf("%v: no such member came out", l)
			}
			continue
		}
		if l.Members < 0 {
			open = true
			continue
		}
		told += l.Members
	}
	if told != nameless && !open || told > nameless {
		t.Fatalf("%d members did not come out, %d are told of: %v", nameless, told, r.Losses())
	}
	if len(r.Losses()) > 0 && !r.Damaged() {
		t.Fatal("losses without damage")
	}
}

// TestATarInAnArchiveIsNoPartOfIt: a member that is an archive's tar itself
// loses its header; what it holds is not taken for members.
func TestATarInAnArchiveIsNoPartOfIt(t *testing.T) {
	var inner bytes.Buffer
	writeTar(t, &inner, testInfo(), nil, many(300))
	trap := newFile("trap.tar", inner.String())
	big := newFile("before", string(make([]byte, 0)))
	want := append([]file{big}, append(many(120)[:99], trap, newFile("zz", "behind"))...)
	b := sealed(t, testInfo(), nil, want)
	whole := open(t, b, Options{})
	src := whole.src.(*blocks)
	for { // stop behind the header of the trap
		m, err := whole.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Name == trap.Name {
			break
		}
	}
	frame := src.pos / src.block
	r := open(t, b, Options{KeepGoing: true})
	r.src.(*blocks).gaps = []seal.Lost{{Offset: frame * src.block, Length: src.block, Exact: true}}
	got, _, err := readAll(r)
	if err != nil {
		t.Fatal(err)
	}
	checkLosses(t, r, got, want)
	if last := got[len(got)-1]; last.Name != "zz" || last.data != "behind" {
		t.Fatal("what follows the trap did not come out")
	}
}

func TestOnlyAnArchiveThatEndsIsWhole(t *testing.T) {
	var b bytes.Buffer
	writeTar(t, &b, testInfo(), nil, tree())
	whole := b.Bytes()
	for _, n := range []int{len(whole) - 512, len(whole) - 1024, len(whole) - 1500, len(whole) - 2048} {
		r, err := OpenTar(bytes.NewReader(whole[:n]))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := readAll(r); !errors.Is(err, ErrFormat) {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	r, err := OpenTar(io.MultiReader(bytes.NewReader(whole), bytes.NewReader(make([]byte, 10240)), bytes.NewReader([]byte{1})))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := readAll(r); !errors.Is(err, ErrFormat) {
		t.Fatal(err)
	}
}
