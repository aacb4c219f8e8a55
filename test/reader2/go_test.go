package reader2

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/efs-project/efs/seal"
)

// kek is a key-encryption key in plain memory.
type kek struct {
	id  [16]byte
	key []byte
}

func (k kek) ID() [16]byte { return k.id }
func (k kek) Derive(salt, info []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, k.key, salt, string(info), 32)
}

var kinds = []struct {
	err  error
	name string
}{
	{seal.ErrFormat, "format"}, {seal.ErrUnsupported, "unsupported"}, {seal.ErrNoKey, "no key"},
	{seal.ErrTampered, "tampered"}, {seal.ErrTruncated, "truncated"},
}

func kindOf(t testing.TB, err error) string {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	t.Helper()
	t.Errorf("the Go reader fails with an error of no kind: %v", err)
	return "none"
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goOpen opens g as a stream with the package seal. It gives the plaintext too,
// as far as it came.
func goOpen(t testing.TB, g *given) (answer, []byte) {
	t.Helper()
	o := &seal.Open{Any: g.FS == "", Size: -1, PlainSize: -1, CheckDigest: true}
	if g.FS != "" {
		o.FS, o.Content = [16]byte(unhex(t, g.FS)), [16]byte(unhex(t, g.Content))
	}
	o.Identities = append(o.Identities, seal.KeyIdentity(func(id [16]byte) (seal.KEK, error) {
		if key, ok := g.Keys[hex.EncodeToString(id[:])]; ok {
			return kek{id, unhex(t, key)}, nil
		}
		return nil, seal.ErrNoKey
	}))
	if g.Passphrase != "" {
		o.Identities = append(o.Identities, seal.PassphraseIdentity([]byte(g.Passphrase), seal.Argon2Limits{}))
	}
	if g.Private != "" {
		id, err := seal.ParseIdentity(g.Private)
		if err != nil {
			t.Fatal(err)
		}
		o.Identities = append(o.Identities, id)
	}
	r, err := seal.NewReader(bytes.NewReader(g.Sealed), o)
	if err != nil {
		return answer{Kind: kindOf(t, err), Text: err.Error()}, nil
	}
	defer r.Close()
	plain, err := io.ReadAll(r)
	sum := sha256.Sum256(plain)
	a := answer{Length: len(plain), SHA256: hex.EncodeToString(sum[:])}
	if err != nil {
		a.Kind, a.Text = kindOf(t, err), err.Error()
		return a, plain
	}
	a.Trailer = trailerOf(t, r.Trailer())
	return a, plain
}

// trailerOf gives a trailer the names of the test vectors, and numbers as JSON
// has them.
func trailerOf(t testing.TB, tr *seal.Trailer) map[string]any {
	t.Helper()
	r := tr.Recovery
	m := map[string]any{
		"path": r.Path, "version": r.Version, "extent": r.Extent, "extents": r.Extents, "seq": r.Seq,
		"created": r.Created, "modified": r.Modified, "type": r.Type, "owner": r.Owner, "mode": r.Mode,
	}
	for name, v := range m {
		if reflect.ValueOf(v).IsZero() {
			delete(m, name)
		}
	}
	if len(r.Meta) > 0 {
		m["meta"] = r.Meta
	}
	if r.File != [16]byte{} {
		m["file"] = hex.EncodeToString(r.File[:])
	}
	if tr.HasDigest {
		m["sha256"] = hex.EncodeToString(tr.SHA256[:])
	}
	m["size"], m["padding"] = tr.Size, tr.Padding
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

// agree opens g with both readers. They must say the same: the same plaintext
// and trailer, or the same kind of error. What either gives out before an error
// must be a beginning of plain, where that is not nil.
func agree(t testing.TB, p *pyReader, name string, g *given, plain []byte) answer {
	t.Helper()
	goes, got := goOpen(t, g)
	py := p.open(t, g)
	if goes.Kind != py.Kind {
		t.Errorf("%s: Go says %q (%s), Python %q (%s)", name, goes.Kind, goes.Text, py.Kind, py.Text)
		return goes
	}
	if goes.Kind == "" && (goes.SHA256 != py.SHA256 || !reflect.DeepEqual(goes.Trailer, py.Trailer)) {
		t.Errorf("%s: Go gives %d bytes and %v, Python %d and %v", name, goes.Length, goes.Trailer, py.Length, py.Trailer)
	}
	if plain == nil {
		return goes
	}
	if !bytes.HasPrefix(plain, got) || (goes.Kind == "" && len(got) != len(plain)) {
		t.Errorf("%s: Go gives out %d bytes that are not those that were sealed", name, len(got))
	}
	if sum := sha256.Sum256(plain[:min(py.Length, len(plain))]); py.Length > len(plain) || py.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%s: Python gives out %d bytes that are not those that were sealed", name, py.Length)
	}
	return goes
}
