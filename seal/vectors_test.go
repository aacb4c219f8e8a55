package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// -write-vectors adds vectors that are not there yet. It never changes one that
// is: what this version of the format says is settled.
var writeVectors = flag.Bool("write-vectors", false, "write the test vectors that are missing from testdata/vectors")

const vectorDir = "testdata/vectors"

// hexBytes is written as hex in JSON.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// vector is a test vector as docs/sealed-file.md explains it.
type vector struct {
	About      string            `json:"about"`
	Error      string            `json:"error,omitempty"` // of the whole file, or two kinds joined by " or "; empty: it opens
	Keys       map[string]string `json:"keys,omitempty"`  // id → key, both hex
	Passphrase string            `json:"passphrase,omitempty"`
	Private    string            `json:"private_key,omitempty"`
	FS         hexBytes          `json:"fs"`
	Content    hexBytes          `json:"content"`
	Random     hexBytes          `json:"random,omitempty"` // all randomness in the order in which it is used
	Plaintext  hexBytes          `json:"plaintext,omitempty"`
	Trailer    *vectorTrailer    `json:"trailer,omitempty"`
	Sealed     hexBytes          `json:"sealed"`
}

type vectorTrailer struct {
	Size     int64             `json:"size"`
	SHA256   hexBytes          `json:"sha256,omitempty"`
	Padding  int64             `json:"padding"`
	Path     string            `json:"path,omitempty"`
	File     hexBytes          `json:"file,omitempty"`
	Version  uint64            `json:"version,omitempty"`
	Extent   int               `json:"extent,omitempty"`
	Extents  int               `json:"extents,omitempty"`
	Seq      uint64            `json:"seq,omitempty"`
	Created  int64             `json:"created,omitempty"`
	Modified int64             `json:"modified,omitempty"`
	Type     string            `json:"type,omitempty"`
	Meta     map[string]string `json:"meta,omitempty"`
	Owner    string            `json:"owner,omitempty"`
	Mode     uint32            `json:"mode,omitempty"`
}

var errorNames = map[string]error{
	"tampered": ErrTampered, "truncated": ErrTruncated, "no key": ErrNoKey, "format": ErrFormat, "unsupported": ErrUnsupported,
}

func (v *vector) open() *Open {
	o := &Open{FS: [16]byte(v.FS), Content: [16]byte(v.Content), Size: -1, PlainSize: -1, CheckDigest: true}
	var keks []testKEK
	for id, key := range v.Keys {
		rawID, _ := hex.DecodeString(id)
		rawKey, _ := hex.DecodeString(key)
		keks = append(keks, testKEK{[16]byte(rawID), [32]byte(rawKey)})
	}
	o.Identities = append(o.Identities, ring(keks...))
	if v.Passphrase != "" {
		o.Identities = append(o.Identities, PassphraseIdentity([]byte(v.Passphrase), Argon2Limits{}))
	}
	if v.Private != "" {
		id, err := ParseIdentity(v.Private)
		if err != nil {
			panic(err)
		}
		o.Identities = append(o.Identities, id)
	}
	return o
}

func trailerOf(t *Trailer) *vectorTrailer {
	r := t.Recovery
	v := &vectorTrailer{
		Size: t.Size, Padding: t.Padding, Path: r.Path, Version: r.Version, Extent: r.Extent, Extents: r.Extents, Seq: r.Seq,
		Created: r.Created, Modified: r.Modified, Type: r.Type, Meta: r.Meta, Owner: r.Owner, Mode: r.Mode,
	}
	if t.HasDigest {
		v.SHA256 = t.SHA256[:]
	}
	if r.File != [16]byte{} {
		v.File = r.File[:]
	}
	return v
}

// TestVectors opens every vector in every way.
func TestVectors(t *testing.T) {
	if *writeVectors {
		writeMissingVectors(t)
	}
	files, err := filepath.Glob(vectorDir + "/*.json")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d vectors in %s, %v", len(files), vectorDir, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) { checkVector(t, &v) })
	}
}

func checkVector(t *testing.T, v *vector) {
	for with, open := range openers {
		got, tr, err := open(v.Sealed, v.open())
		if v.Error != "" {
			if err == nil || !slices.Contains(strings.Split(v.Error, " or "), errorName(err)) || !bytes.HasPrefix(v.Plaintext, got) {
				t.Errorf("%s says %v, want %s", with, err, v.Error)
			}
			continue
		}
		if err != nil || !bytes.Equal(got, v.Plaintext) {
			t.Errorf("%s: %d bytes, %v", with, len(got), err)
			continue
		}
		have, _ := json.Marshal(trailerOf(tr))
		if should, _ := json.Marshal(v.Trailer); !bytes.Equal(have, should) {
			t.Errorf("%s: trailer is %s, want %s", with, have, should)
		}
	}
}

// TestVectorsAreMadeAgain seals what the vectors were made from, with the same
// randomness: the same bytes come out, but where a library's choice goes in
// (zstd's way of compressing, HPKE's randomness).
func TestVectorsAreMadeAgain(t *testing.T) {
	for name, s := range sources(t) {
		b, err := os.ReadFile(filepath.Join(vectorDir, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		if v.Private != "" {
			continue
		}
		p := s.p
		p.rand = bytes.NewReader(v.Random)
		sealed, _, err := SealBytes(nil, s.plain, &p, s.rec)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if p.Compression == CompressNone && !bytes.Equal(sealed, v.Sealed) {
			t.Errorf("%s: other bytes", name)
		}
		if rest, _ := io.ReadAll(p.rand); len(rest) != 0 {
			t.Errorf("%s: %d random bytes were not used", name, len(rest))
		}
	}
}

// source is what a vector that opens is made from.
type source struct {
	about string
	p     Params
	plain []byte
	rec   Recovery
	key   *PrivateKey
}

const vectorPassphrase = "correct horse battery staple"

func sources(t *testing.T) map[string]source {
	t.Helper()
	lines := func(n int) []byte { return bytes.Repeat([]byte("Aspirin 100 mg, one a day\n"), n) }
	long := text(4000)
	recovered := func(about string, p Params, plain []byte) source { return source{about, p, plain, testRecovery, nil} }
	segmentSize := func(p Params, n int) Params { p.SegmentSize = n; return p }
	noDigest := one(AES256GCM)
	noDigest.NoDigest = true
	pass := one(AES256GCM)
	pass.Stages = []Stage{{AES256GCM, []Recipient{passphrase(t, vectorPassphrase)}}}
	mixed := one(ChaCha20Poly1305)
	mixed.Stages[0].Recipients = append(mixed.Stages[0].Recipients, KeyRecipient(kekB))
	mixed.Stages = append(mixed.Stages, pass.Stages[0])
	key, err := GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	public := one(AES256GCM)
	public.Stages = []Stage{{AES256GCM, []Recipient{key.Public()}}}
	longPath := testRecovery
	longPath.Path = "/" + strings.Repeat("a long path/", 200)
	return map[string]source{
		"aes-hello":           {"one segment, AES-256-GCM, default segment size, empty recovery record", segmentSize(one(AES256GCM), 0), []byte("hello"), Recovery{}, nil},
		"aes-empty":           recovered("no plaintext at all", one(AES256GCM), nil),
		"aes-one-segment":     recovered("plaintext of exactly one segment", one(AES256GCM), text(1024)),
		"aes-one-byte-more":   recovered("plaintext of one segment and a byte", one(AES256GCM), text(1025)),
		"aes-many-segments":   recovered("several segments of 1 KiB", one(AES256GCM), long),
		"aes-no-digest":       recovered("no SHA-256 in the trailer", noDigest, text(100)),
		"aes-long-trailer":    {"a trailer that fills several segments", one(AES256GCM), text(1500), longPath, nil},
		"chacha-hello":        recovered("ChaCha20-Poly1305", one(ChaCha20Poly1305), []byte("hello")),
		"chacha-segments":     recovered("ChaCha20-Poly1305, several segments", one(ChaCha20Poly1305), long),
		"two-stages":          recovered("AES-256-GCM, then ChaCha20-Poly1305, under different keys", two(), long),
		"padme-empty":         recovered("padding inside the end block", padded(one(AES256GCM)), nil),
		"padme-segments":      recovered("padding that fills whole segments", padded(one(AES256GCM)), text(33000)),
		"zstd-frames":         recovered("frames of 1 KiB, compressed and not", zstded(one(AES256GCM)), append(lines(100), long...)),
		"zstd-empty":          recovered("compression of nothing", zstded(one(AES256GCM)), nil),
		"zstd-table-segments": recovered("a frame table of more than a segment", zstded(one(AES256GCM)), bytes.Repeat([]byte{0}, 140<<10)),
		"two-zstd-padme":      recovered("everything at once", padded(zstded(two())), append(lines(100), long...)),
		"passphrase":          recovered("Argon2id with 1 pass, 64 KiB, 1 thread", pass, []byte("hello")),
		"slots":               recovered("two key slots in one stage, a passphrase in the other", mixed, long),
		"hpke":                {"HPKE with MLKEM768-X25519", public, []byte("hello"), testRecovery, key},
	}
}

// recorder gives random bytes that count up, and keeps them.
type recorder struct {
	counter
	used []byte
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.counter.Read(b)
	r.used = append(r.used, b[:n]...)
	return n, err
}

func newVector(about string) *vector {
	v := &vector{About: about, FS: bytes.Clone(testFS[:]), Content: bytes.Clone(testContent[:]), Keys: map[string]string{}}
	for _, k := range []testKEK{kekA, kekB} {
		v.Keys[hex.EncodeToString(k.id[:])] = hex.EncodeToString(k.key[:])
	}
	return v
}

func writeMissingVectors(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(vectorDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, s := range sources(t) {
		v := newVector(s.about)
		rec := &recorder{}
		s.p.rand = rec
		sealed, _, err := SealBytes(nil, s.plain, &s.p, s.rec)
		if err != nil {
			t.Fatal(err)
		}
		v.Sealed, v.Random, v.Plaintext = sealed, rec.used, s.plain
		if name == "passphrase" || name == "slots" {
			v.Passphrase = vectorPassphrase
		}
		if s.key != nil {
			v.Random = nil // the encapsulation has randomness of its own
			if v.Private, err = s.key.Text(); err != nil {
				t.Fatal(err)
			}
		}
		_, tr, err := OpenBytes(nil, sealed, v.open())
		if err != nil {
			t.Fatal(err)
		}
		v.Trailer = trailerOf(tr)
		writeVector(t, name, v)
	}
	for name, c := range malformed() {
		v := newVector("right MAC and tags, but malformed: " + name)
		v.Sealed, v.Error = c.f.seal(t), errorName(c.want)
		v.Plaintext = []byte("hello")
		if c.want == nil { // what is found first depends on where one begins to read
			v.Plaintext, v.Error = make([]byte, 1<<10), "tampered or format"
		}
		writeVector(t, "bad-"+strings.NewReplacer(": ", "-", " ", "-").Replace(name), v)
	}
	for name, v := range damagedVectors(t) {
		writeVector(t, "bad-"+name, v)
	}
}

// damagedVectors are altered forms of one good file of several segments.
func damagedVectors(t *testing.T) map[string]*vector {
	plain := text(4000)
	p := one(AES256GCM)
	p.rand = &counter{}
	sealed, _, err := SealBytes(nil, plain, &p, testRecovery)
	if err != nil {
		t.Fatal(err)
	}
	start, seg := cutSegments(t, sealed)
	flip := func(at int) []byte { b := bytes.Clone(sealed); b[at] ^= 1; return b }
	join := func(parts ...[]byte) []byte { return slices.Concat(append([][]byte{sealed[:start]}, parts...)...) }
	last := len(seg) - 1
	out := map[string]*vector{}
	add := func(name, about, kind string, sealed []byte) *vector {
		v := newVector(about)
		v.Plaintext, v.Sealed, v.Error = plain, sealed, kind
		out[name] = v
		return v
	}
	add("magic", "first byte altered", "format", flip(0))
	add("version", "version of the format altered", "unsupported", flip(7))
	add("header-flipped", "content id in the header altered", "tampered", flip(preambleLen+22))
	add("mac-flipped", "MAC of the header altered", "tampered", flip(start-1))
	add("slot-flipped", "wrapped file key altered", "tampered", flip(start-macLen-1))
	add("segment-flipped", "second segment altered", "tampered", flip(start+1040+5))
	add("last-flipped", "last byte altered", "tampered", flip(len(sealed)-1))
	add("swapped", "first two segments swapped", "tampered", join(append([][]byte{seg[1], seg[0]}, seg[2:]...)...))
	add("removed", "second segment removed", "tampered", join(append([][]byte{seg[0]}, seg[2:]...)...))
	add("repeated", "first segment repeated", "tampered", join(append([][]byte{seg[0]}, seg...)...))
	add("last-removed", "last segment removed", "truncated", join(seg[:last]...))
	add("cut-in-header", "ends within the header", "truncated", sealed[:start-50])
	add("cut-before-segments", "ends after the header's MAC", "truncated", sealed[:start])
	add("cut-in-segment", "ends within the last segment", "tampered", sealed[:len(sealed)-3])
	add("extended", "bytes after the end", "tampered", append(bytes.Clone(sealed), 0, 1, 2))
	add("other-content", "whole, but another content is expected", "tampered", sealed).Content[15]++
	add("other-fs", "whole, but another file system is expected", "tampered", sealed).FS[15]++
	add("no-key", "whole, but its key is not there", "no key", sealed).Keys = nil
	return out
}

func errorName(err error) string {
	for name, kind := range errorNames {
		if errors.Is(err, kind) {
			return name
		}
	}
	return ""
}

// writeVector writes a vector unless it exists.
func writeVector(t *testing.T, name string, v *vector) {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(vectorDir, name+".json"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(append(b, '\n')); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
