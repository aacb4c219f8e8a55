package reader2

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/efs-project/efs/seal"
)

var (
	fsID, contentID = [16]byte{0xf5, 1}, [16]byte{0xc0, 2}
	kekA            = kek{[16]byte{0xaa, 1}, bytes.Repeat([]byte{0xa1}, 32)}
	kekB            = kek{[16]byte{0xbb, 1}, bytes.Repeat([]byte{0xb1}, 32)}
	bothKeys        = map[string]string{
		hex.EncodeToString(kekA.id[:]): hex.EncodeToString(kekA.key), hex.EncodeToString(kekB.id[:]): hex.EncodeToString(kekB.key),
	}
	belongs = seal.Recovery{
		Path: "/Ärzte/173.pdf", File: [16]byte{9}, Version: 1 << 40, Extent: 1, Extents: 3, Seq: 12345, Created: -1,
		Modified: 1 << 50, Type: "application/pdf", Meta: map[string]string{"b": "", "aa": "ü", "": "x"}, Owner: "o", Mode: 0o7777,
	}
)

// sealed seals plain as p says.
func sealed(t testing.TB, p seal.Params, plain []byte) []byte {
	t.Helper()
	p.FS, p.Content = fsID, contentID
	out, _, err := seal.SealBytes(nil, plain, &p, belongs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func stages(s ...seal.Stage) []seal.Stage { return s }

func keyed(suite seal.Suite, keks ...kek) seal.Stage {
	st := seal.Stage{Suite: suite}
	for _, k := range keks {
		st.Recipients = append(st.Recipients, seal.KeyRecipient(k))
	}
	return st
}

// text is plaintext of n bytes that compresses in some parts and not in others.
func text(n int) []byte {
	r, b := rand.New(rand.NewPCG(1, uint64(n))), make([]byte, 0, n+200)
	for len(b) < n {
		if r.IntN(8) > 0 {
			b = append(b, "Aspirin 100 mg, one a day\n"...)
			continue
		}
		for range 1 + r.IntN(150) {
			b = append(b, byte(r.Uint32()))
		}
	}
	return b[:n]
}

// TestVectorsInPython opens every test vector with the command, as somebody
// would who writes a reader.
func TestVectorsInPython(t *testing.T) {
	p := startPython(t)
	files, err := filepath.Glob("../../seal/testdata/vectors/*.json")
	if err != nil || len(files) < 70 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			given
			Sealed    string `json:"sealed"`
			Error     string `json:"error"`
			Plaintext string `json:"plaintext"`
		}
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		v.given.Sealed = unhex(t, v.Sealed)
		a := agree(t, p, file, &v.given, unhex(t, v.Plaintext))
		if v.Error != "" && !slices.Contains(strings.Split(v.Error, " or "), a.Kind) {
			t.Errorf("%s: %q, should be %q", file, a.Kind, v.Error)
		}
	}
}

// TestBothReadersOpenWhatIsSealed seals files of every kind, of lengths around
// every border, and opens them.
func TestBothReadersOpenWhatIsSealed(t *testing.T) {
	p := startPython(t)
	both := stages(keyed(seal.AES256GCM, kekA), keyed(seal.ChaCha20Poly1305, kekB))
	shapes := map[string]seal.Params{
		"aes":         {SegmentSize: 1 << 10, Stages: both[:1]},
		"chacha":      {SegmentSize: 2 << 10, Stages: both[1:], Padding: seal.PadPadme},
		"two":         {SegmentSize: 1 << 10, Stages: both, NoDigest: true},
		"zstd":        {SegmentSize: 1 << 10, FrameSize: 1 << 10, Compression: seal.CompressZstd, Stages: both[:1]},
		"large frame": {SegmentSize: 1 << 10, FrameSize: 4 << 10, Compression: seal.CompressZstd, Stages: both, Padding: seal.PadPadme},
	}
	for name, params := range shapes {
		for _, n := range borders(params.SegmentSize) {
			plain := text(n)
			g := &given{Sealed: sealed(t, params, plain), Keys: bothKeys}
			if a := agree(t, p, fmt.Sprintf("%s, %d bytes", name, n), g, plain); a.Kind != "" {
				t.Errorf("%s, %d bytes: %s", name, n, a.Text)
			}
		}
	}
}

// borders are lengths at which something of the payload moves to the next segment.
func borders(segment int) []int {
	lengths := []int{0, 1, 2, 100, 500, 4095, 4096, 4097, 40_000}
	for _, at := range []int{segment, 2 * segment, 5 * segment} {
		lengths = append(lengths, at-1, at, at+1)
		for d := 1; d < 400; d += 37 { // around where the trailer record and the suffix no longer fit
			lengths = append(lengths, at-d)
		}
	}
	return lengths
}

// TestBothReadersOpenDefaults: the sizes that EFS uses, and a table of its own segments.
func TestBothReadersOpenDefaults(t *testing.T) {
	p := startPython(t)
	st := stages(keyed(seal.AES256GCM, kekA))
	for name, c := range map[string]struct {
		p seal.Params
		n int
	}{
		"defaults":            {seal.Params{Stages: st}, 3<<20 + 5},
		"defaults, zstd":      {seal.Params{Stages: st, Compression: seal.CompressZstd, Padding: seal.PadPadme}, 3<<20 + 5},
		"table in segments":   {seal.Params{Stages: st, SegmentSize: 1 << 10, FrameSize: 1 << 10, Compression: seal.CompressZstd}, 300 << 10},
		"padding in segments": {seal.Params{Stages: st, SegmentSize: 1 << 10, Padding: seal.PadPadme}, 261 << 10},
		"everything at once":  {seal.Params{Stages: st, SegmentSize: 1 << 10, FrameSize: 1 << 10, Compression: seal.CompressZstd, Padding: seal.PadPadme}, 700 << 10},
	} {
		plain := text(c.n)
		if a := agree(t, p, name, &given{Sealed: sealed(t, c.p, plain), Keys: bothKeys}, plain); a.Kind != "" {
			t.Errorf("%s: %s", name, a.Text)
		}
	}
}

// TestBothReadersKnowEverySlot: passphrases with several lanes and passes, key
// pairs, several slots; and what each says without the key, or with another one.
func TestBothReadersKnowEverySlot(t *testing.T) {
	p := startPython(t)
	pair, other := newPair(t), newPair(t)
	public := seal.Stage{Suite: seal.AES256GCM, Recipients: []seal.Recipient{other.pub, pair.pub, seal.KeyRecipient(kekB)}}
	withPass := func(costs seal.Argon2Params) []seal.Stage { return stages(passphrase(t, "pass wörd", costs)) }
	files := map[string][]seal.Stage{
		"public key":          stages(public),
		"passphrase":          withPass(seal.Argon2Params{Time: 1, MemoryKiB: 8, Threads: 1}),
		"passphrase, lanes":   withPass(seal.Argon2Params{Time: 3, MemoryKiB: 203, Threads: 3}),
		"passphrase, address": withPass(seal.Argon2Params{Time: 2, MemoryKiB: 520, Threads: 1}), // more than 128 blocks in a slice
		"passphrase and key":  append(withPass(seal.Argon2Params{Time: 1, MemoryKiB: 64, Threads: 1}), public),
	}
	readers := map[string]given{
		"all":              {Passphrase: "pass wörd", Private: pair.text},
		"key B":            {Passphrase: "pass wörd", Keys: bothKeys},
		"wrong passphrase": {Passphrase: "pass word", Private: pair.text},
		"another pair":     {Passphrase: "pass wörd", Private: newPair(t).text},
		"nothing":          {},
	}
	opened := 0
	for name, st := range files {
		plain := []byte("for " + name)
		b := sealed(t, seal.Params{SegmentSize: 1 << 10, Stages: st}, plain)
		for who, g := range readers {
			g.Sealed = b
			if agree(t, p, name+", "+who, &g, plain).Kind == "" {
				opened++
			}
		}
	}
	if opened != 3+3*3+2 {
		t.Errorf("%d of the combinations opened", opened)
	}
}

type pair struct {
	pub  *seal.PublicKey
	text string
}

func newPair(t testing.TB) pair {
	t.Helper()
	k, err := seal.GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	text, err := k.Text()
	if err != nil {
		t.Fatal(err)
	}
	return pair{k.Public(), text}
}

func passphrase(t testing.TB, pass string, costs seal.Argon2Params) seal.Stage {
	t.Helper()
	r, err := seal.PassphraseRecipient([]byte(pass), costs)
	if err != nil {
		t.Fatal(err)
	}
	return seal.Stage{Suite: seal.AES256GCM, Recipients: []seal.Recipient{r}}
}
