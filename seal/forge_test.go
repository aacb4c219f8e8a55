package seal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// forgery makes sealed files that no Writer makes, but that whoever holds the
// keys could: their MAC and tags are right.
type forgery struct {
	p        Params
	header   func(cbor []byte) []byte // changes the header's CBOR
	segments []forged
}

type forged struct {
	kind  kind
	last  bool
	plain []byte
}

func (f forgery) seal(t testing.TB) []byte {
	t.Helper()
	h, err := f.p.header()
	if err != nil {
		t.Fatal(err)
	}
	rand := &counter{}
	keys := make([]byte, keyLen*len(f.p.Stages))
	rand.Read(keys)
	for i, st := range f.p.Stages {
		for j, rcpt := range st.Recipients {
			ctx := Context{FS: h.FS, Content: h.Content, Stage: i, Suite: st.Suite, rand: rand}
			if h.Stages[i].Slots[j], err = rcpt.Wrap(keys[i*keyLen:(i+1)*keyLen], ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.encode(); err != nil {
		t.Fatal(err)
	}
	if f.header != nil {
		cbor := f.header(append([]byte(nil), h.raw[preambleLen:]...))
		h.raw = binary.BigEndian.AppendUint32([]byte(magic), uint32(len(cbor)))
		h.raw = append(h.raw, cbor...)
	}
	mac, c, err := keySchedule(h, keys)
	if err != nil {
		t.Fatal(err)
	}
	out := append(append([]byte(nil), h.raw...), mac[:]...)
	var n nonce
	for i, s := range f.segments {
		buf := make([]byte, len(s.plain)+c.overhead())
		out = append(out, c.seal(buf, s.plain, &n, s.kind, int64(i), s.last)...)
	}
	return out
}

// counter is "randomness" that counts: 0, 1, 2, …
type counter struct{ n byte }

func (c *counter) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = c.n
		c.n++
	}
	return len(b), nil
}

// end builds an end block: data and table remainders, padding, record, suffix.
func end(l layout, rest, record []byte) []byte {
	l.record = int64(len(record))
	b := append(append([]byte(nil), rest...), make([]byte, l.padding)...)
	return l.appendSuffix(append(b, record...))
}

func record(t *Trailer) []byte {
	b, err := t.record()
	if err != nil {
		panic(err)
	}
	return b
}

// replaced returns a change of the header: old, which occurs once, becomes new.
func replaced(old, new string) func([]byte) []byte {
	return func(b []byte) []byte {
		if strings.Count(string(b), old) != 1 {
			panic(fmt.Sprintf("%x occurs %d times in the header", old, strings.Count(string(b), old)))
		}
		return []byte(strings.Replace(string(b), old, new, 1))
	}
}

// hello is a file that holds "hello" in its only segment.
func hello(p Params) forgery {
	return forgery{p: p, segments: []forged{{kindTrailer, true, end(layout{data: 5}, []byte("hello"), record(&Trailer{Size: 5}))}}}
}

// malformed are files with right MACs and tags that break a rule, or use what
// only a newer version knows.
func malformed() map[string]struct {
	f    forgery
	want error
} {
	type bad = struct {
		f    forgery
		want error
	}
	one := one(AES256GCM)
	head := func(old, new string) forgery {
		f := hello(one)
		f.header = replaced(old, new)
		return f
	}
	ended := func(p Params, l layout, rest string, t Trailer) forgery {
		return forgery{p: p, segments: []forged{{kindTrailer, true, end(l, []byte(rest), record(&t))}}}
	}
	trailer := func(cbor string) forgery {
		return forgery{p: one, segments: []forged{{kindTrailer, true, end(layout{data: 5}, []byte("hello"), []byte(cbor))}}}
	}
	kib := make([]byte, 1<<10)
	const zstd50 = "\x28\xb5\x2f\xfd\x00\x50\x93\x01\x00a" // 50 times "a", in one block
	m := map[string]bad{
		"header: map of indefinite length":      {head("\xa6\x01\x50", "\xbf\x01\x50"), ErrFormat},
		"header: number not in shortest form":   {head("\x04\x00\x05\x00\x06", "\x04\x18\x00\x05\x00\x06"), ErrFormat},
		"header: key repeated":                  {head("\x04\x00\x05\x00\x06", "\x04\x00\x04\x00\x06"), ErrFormat},
		"header: keys out of order":             {head("\x04\x00\x05\x00\x06", "\x05\x00\x04\x00\x06"), ErrFormat},
		"header: field missing":                 {head("\xa6\x01\x50", "\xa5\x01\x50"), ErrFormat},
		"header: unknown critical field":        {head("\x04\x00\x05\x00\x06", "\x04\x00\x05\x00\x08"), ErrUnsupported},
		"header: unknown compression":           {head("\x04\x00\x05\x00\x06", "\x04\x02\x05\x00\x06"), ErrUnsupported},
		"header: unknown padding":               {head("\x04\x00\x05\x00\x06", "\x04\x00\x05\x02\x06"), ErrUnsupported},
		"header: frame size without use":        {head("\x04\x00\x05\x00\x06", "\x04\x01\x05\x00\x06"), ErrFormat},
		"header: unknown suite":                 {head("\x81\xa2\x01\x01\x02", "\x81\xa2\x01\x03\x02"), ErrUnsupported},
		"header: no stage":                      {head("\x06\x81\xa2\x01\x01\x02\x81\xa4", "\x06\x80\xa2\x01\x01\x02\x81\xa4"), ErrFormat},
		"header: segment size no power of two":  {head("\x03\x19\x04\x00", "\x03\x19\x04\x01"), ErrFormat},
		"header: segment size too small":        {head("\x03\x19\x04\x00", "\x03\x19\x02\x00"), ErrFormat},
		"header: segment size too large":        {head("\x03\x19\x04\x00", "\x03\x1a\x00\x20\x00\x00"), ErrFormat},
		"header: a float":                       {head("\x04\x00\x05\x00\x06", "\x04\xf9\x00\x00\x05\x00\x06"), ErrFormat},
		"header: a tag":                         {head("\x04\x00\x05\x00\x06", "\x04\xc1\x00\x05\x00\x06"), ErrFormat},
		"header: bytes after it":                {forgery{p: one, header: func(b []byte) []byte { return append(b, 0) }, segments: hello(one).segments}, ErrFormat},
		"header: array longer than it":          {head("\x06\x81\xa2\x01\x01\x02\x81\xa4", "\x06\x81\xa2\x01\x01\x02\x98\xff\xa4"), ErrFormat},
		"slot: without type":                    {head("\x81\xa4\x01\x01\x02\x50", "\x81\xa3\x02\x50"), ErrFormat},
		"slot: salt of wrong length":            {head("\x03\x58\x20\x20", "\x03\x58\x21\x00\x20"), ErrFormat},
		"trailer: size differs from the data":   {ended(one, layout{data: 5}, "hello", Trailer{Size: 4}), ErrFormat},
		"trailer: size larger than the data":    {ended(one, layout{data: 5}, "hello", Trailer{Size: 6}), ErrFormat},
		"trailer: lengths exceed the file":      {ended(one, layout{data: 6}, "hello", Trailer{Size: 6}), ErrFormat},
		"trailer: lengths fall short":           {ended(one, layout{data: 4}, "hello", Trailer{Size: 4}), ErrFormat},
		"trailer: huge length":                  {ended(one, layout{data: -1}, "hello", Trailer{Size: 5}), ErrFormat},
		"trailer: padding where none should be": {ended(one, layout{data: 5, padding: 8}, "hello", Trailer{Size: 5}), ErrFormat},
		"trailer: padding missing":              {ended(padded(one), layout{data: 6}, "hello!", Trailer{Size: 6}), ErrFormat},
		"trailer: table without compression":    {ended(one, layout{data: 5, table: 8}, "hello\x00\x00\x00\x00\x00\x00\x00\x05", Trailer{Size: 5}), ErrFormat},
		"trailer: digest differs":               {ended(one, layout{data: 5}, "hello", Trailer{Size: 5, HasDigest: true}), ErrTampered},
		"trailer: unknown critical field":       {trailer("\xa2\x01\x05\x04\x00"), ErrUnsupported},
		"trailer: no size":                      {trailer("\xa0"), ErrFormat},
		"trailer: empty record":                 {trailer(""), ErrFormat},
		"trailer: bytes after the record":       {trailer("\xa1\x01\x05\x00"), ErrFormat},
		"trailer: shorter than its suffix":      {forgery{p: one, segments: []forged{{kindTrailer, true, []byte("short")}}}, ErrFormat},
		"frame: table entry missing":            {ended(zstded(one), layout{data: 13}, "\x00\x00\x00\x05\x00\x00\x00\x05hello", Trailer{Size: 5}), ErrFormat},
		"frame: longer than allowed":            {ended(zstded(one), layout{data: 13, table: 8}, "\x00\x00\x04\x01\x00\x00\x00\x05hello\x00\x00\x00\x00\x00\x00\x00\x0d", Trailer{Size: 5}), ErrFormat},
		"frame: stored longer than plain":       {ended(zstded(one), layout{data: 13, table: 8}, "\x00\x00\x00\x04\x00\x00\x00\x05hello\x00\x00\x00\x00\x00\x00\x00\x0d", Trailer{Size: 4}), ErrFormat},
		"frame: no zstd":                        {ended(zstded(one), layout{data: 13, table: 8}, "\x00\x00\x00\x06\x00\x00\x00\x05hello\x00\x00\x00\x00\x00\x00\x00\x0d", Trailer{Size: 6}), ErrFormat},
		"frame: two zstd frames":                {ended(zstded(one), layout{data: 28, table: 8}, "\x00\x00\x00\x64\x00\x00\x00\x14"+zstd50+zstd50+"\x00\x00\x00\x00\x00\x00\x00\x1c", Trailer{Size: 100}), ErrFormat},
		"frame: cut off":                        {ended(zstded(one), layout{data: 12, table: 8}, "\x00\x00\x00\x05\x00\x00\x00\x05hell\x00\x00\x00\x00\x00\x00\x00\x0c", Trailer{Size: 5}), ErrFormat},
		"segments: data after padding":          {forgery{p: one, segments: []forged{{kindPadding, false, kib}, {kindData, false, kib}, {kindTrailer, true, end(layout{data: 1 << 10, padding: 1 << 10}, nil, record(&Trailer{Size: 1 << 10}))[1<<10:]}}}, nil},
		"segments: table instead of data":       {forgery{p: one, segments: []forged{{kindTable, false, kib}, {kindTrailer, true, end(layout{data: 1 << 10}, nil, record(&Trailer{Size: 1 << 10}))}}}, nil},
		"segments: two last ones":               {forgery{p: one, segments: []forged{{kindTrailer, true, kib}, {kindTrailer, true, end(layout{data: 1 << 10}, nil, record(&Trailer{Size: 1 << 10}))}}}, nil},
	}
	return m
}

// TestMalformedFilesAreRefused opens files that break one rule each. Where the
// kind of the error is not fixed it is one of the documented ones.
func TestMalformedFilesAreRefused(t *testing.T) {
	if got, _, err := OpenBytes(nil, hello(one(AES256GCM)).seal(t), testOpen()); err != nil || string(got) != "hello" {
		t.Fatalf("the forger cannot make a right file: %q, %v", got, err)
	}
	for name, c := range malformed() {
		sealed := c.f.seal(t)
		for with, open := range openers {
			got, _, err := open(sealed, testOpen())
			if err == nil || !isRefusal(err) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %s says %v, want %v", name, with, err, c.want)
			}
			if strings.HasPrefix(with, "Open") && len(got) != 0 {
				t.Errorf("%s: %s gave out %d bytes", name, with, len(got))
			}
		}
	}
}

// TestWhatMayBeIgnored opens files with fields and slots from a later version.
func TestWhatMayBeIgnored(t *testing.T) {
	p := one(AES256GCM)
	files := map[string]forgery{
		"negative field of the header": {p: p, segments: hello(p).segments, header: func(b []byte) []byte {
			b[0]++ // one more pair in the map
			return append(b, 0x20, 0x82, 0x01, 0x61, 'x')
		}},
		"negative field of the trailer": {p: p, segments: []forged{{kindTrailer, true,
			end(layout{data: 5}, []byte("hello"), []byte("\xa2\x01\x05\x20\xa1\x01\x02"))}}},
		"any unknown field of the recovery record": {p: p, segments: []forged{{kindTrailer, true,
			end(layout{data: 5}, []byte("hello"), []byte("\xa2\x01\x05\x03\xa2\x03\x07\x18\x63\x80"))}}},
		"slot of an unknown type": {p: Params{FS: p.FS, Content: p.Content, SegmentSize: 1 << 10, Stages: []Stage{{AES256GCM,
			[]Recipient{fixedSlot{Type: 77, Body: []byte("?")}, KeyRecipient(kekA)}}}}, segments: hello(p).segments},
	}
	for name, f := range files {
		for with, open := range openers {
			got, _, err := open(f.seal(t), testOpen())
			if err != nil || string(got) != "hello" {
				t.Errorf("%s: %s says %q, %v", name, with, got, err)
			}
		}
	}
}

// fixedSlot is a Recipient that answers the same slot to everything.
type fixedSlot Slot

func (s fixedSlot) Wrap([]byte, Context) (Slot, error) { return Slot(s), nil }
