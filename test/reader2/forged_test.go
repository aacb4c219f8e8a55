package reader2

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// want is what both readers must say of a forgery; "" where it opens.
type want struct {
	f    forgery
	kind string
}

// judge has both readers open every forgery.
func judge(t *testing.T, cases map[string]want) {
	t.Helper()
	p := startPython(t)
	for name, c := range cases {
		g := &given{Sealed: c.f.seal(t), Keys: bothKeys, Passphrase: "secret"}
		if a := agree(t, p, name, g, nil); a.Kind != c.kind {
			t.Errorf("%s: Go says %q (%s), want %q", name, a.Kind, a.Text, c.kind)
		}
	}
}

// TestForgedHeaders: a header with a right MAC and something in it that no
// writer of this version makes.
func TestForgedHeaders(t *testing.T) {
	good, id, salt := goodSlot(t), byts(string(kekA.id[:])), byts(strings.Repeat("s", 32))
	body := byts(wrapped(t, strings.Repeat("s", 32)))
	cases := map[string]want{}
	whole := func(name, kind, header string) { cases["header: "+name] = want{forgery{header, hello()}, kind} }
	slots := func(name, kind string, s ...string) {
		cases["slots: "+name] = want{forgery{headerWith(arr(stage(s...))), hello()}, kind}
	}
	with := func(name, kind string, more ...string) {
		whole(name, kind, headerWith(arr(stage(good)), more...))
	}
	whole("as it should be", "", headerWith(arr(stage(good))))
	with("a negative key", "", neg(1), uint_(5))
	with("negative keys", "", neg(1), txt("a"), neg(2), byts("b"), neg(1<<63), neg(1))
	with("a key below 64 bits", "format", "\x3b"+strings.Repeat("\xff", 8), uint_(1))
	with("a key above 63 bits", "format", "\x1b"+strings.Repeat("\xff", 8), uint_(1))
	with("nested 8 deep", "", neg(1), nested(8))
	with("nested 9 deep", "format", neg(1), nested(9))
	with("maps nested 9 deep", "format", neg(1), strings.Repeat("\xa1\x00", 8)+"\x80")
	with("skipped text that is not UTF-8", "format", neg(1), txt("\xff"))
	with("skipped map out of order", "format", neg(1), table(uint_(2), uint_(0), uint_(1), uint_(0)))
	with("skipped map with a key twice", "format", neg(1), table(uint_(2), uint_(0), uint_(2), uint_(0)))
	with("skipped map with keys of all kinds", "", neg(1), table(uint_(2), uint_(0), txt("a"), uint_(0), arr(), arr()))
	with("skipped map with the key at depth 9", "format", neg(1), strings.Repeat("\x81", 7)+table(arr(), uint_(0)))
	with("a key that is text", "format", txt("a"), uint_(0))
	with("filled to 64 KiB", "", neg(1), byts(strings.Repeat("x", 65_536-len(headerWith(arr(stage(good))))-4)))
	with("a byte more than 64 KiB", "format", neg(1), byts(strings.Repeat("x", 65_537-len(headerWith(arr(stage(good))))-4)))
	whole("no map", "format", arr())
	whole("an unknown suite", "unsupported", headerWith(arr(table(uint_(1), uint_(7), uint_(2), arr(good)))))
	whole("an unknown suite and a broken slot", "format", headerWith(arr(table(uint_(1), uint_(7), uint_(2), arr(table())))))
	whole("suite 256", "format", headerWith(arr(table(uint_(1), uint_(256), uint_(2), arr(good)))))
	whole("a stage without suite", "format", headerWith(arr(table(uint_(2), arr(good)))))
	whole("a stage without slots", "format", headerWith(arr(table(uint_(1), uint_(1)))))
	whole("no slot", "format", headerWith(arr(stage())))
	whole("suite 0", "unsupported", headerWith(arr(table(uint_(1), uint_(0), uint_(2), arr(good)))))
	whole("a stage with a negative key", "", headerWith(arr(table(uint_(1), uint_(1), uint_(2), arr(good), neg(1), uint_(1)))))
	whole("a stage with an unknown key", "unsupported", headerWith(arr(table(uint_(1), uint_(1), uint_(2), arr(good), uint_(3), uint_(1)))))
	whole("9 stages", "format", headerWith(arr(strings.Split(strings.Repeat(stage(good)+"|", 8)+stage(good), "|")...)))
	many := func(n int) []string { return append(make([]string, 0, n), repeat(table(uint_(1), uint_(200)), n)...) }
	whole("32 slots", "", headerWith(arr(stage(append(many(31), good)...))))
	whole("33 slots", "format", headerWith(arr(stage(append(many(32), good)...))))
	whole("33 slots in two stages", "format", headerWith(arr(stage(many(17)...), stage(many(16)...))))

	slots("type 0", "format", table(uint_(1), uint_(0)), good)
	slots("type 256", "format", table(uint_(1), uint_(256)), good)
	slots("type 200", "", table(uint_(1), uint_(200), uint_(2), byts("me"), uint_(4), arr(uint_(1<<40))), good)
	slots("only type 200", "no key", table(uint_(1), uint_(200)))
	slots("type 200 with an unknown key", "unsupported", table(uint_(1), uint_(200), uint_(9), uint_(1)), good)
	slots("type 5 with anything", "", table(uint_(1), uint_(5), uint_(2), arr(), uint_(9), txt("x"), neg(1), uint_(0)), good)
	slots("type 5 with keys out of order", "format", table(uint_(1), uint_(5), uint_(9), arr(), uint_(2), txt("x")), good)
	slots("type 5 nested 9 deep", "format", table(uint_(1), uint_(5), uint_(9), nested(9)), good)
	slots("a negative key", "", table(uint_(1), uint_(1), uint_(2), id, uint_(3), salt, uint_(5), body, neg(1), uint_(1)))
	slots("empty fields", "", table(uint_(1), uint_(200), uint_(2), byts(""), uint_(3), byts(""), uint_(4), arr(), uint_(5), byts("")), good)
	slots("empty parameters", "", table(uint_(1), uint_(1), uint_(2), id, uint_(3), salt, uint_(4), arr(), uint_(5), body))
	for name, s := range map[string]string{
		"id of 65 bytes":     table(uint_(1), uint_(200), uint_(2), byts(strings.Repeat("x", 65))),
		"salt of 65 bytes":   table(uint_(1), uint_(200), uint_(3), byts(strings.Repeat("x", 65))),
		"9 parameters":       table(uint_(1), uint_(200), uint_(4), arr(repeat(uint_(1), 9)...)),
		"negative parameter": table(uint_(1), uint_(200), uint_(4), arr(neg(1))),
		"body of 4097 bytes": table(uint_(1), uint_(200), uint_(5), byts(strings.Repeat("x", 4097))),
		"type as text":       table(uint_(1), txt("1")),
	} {
		slots(name, "format", s, good)
	}
	key := func(id, salt, body string, more ...string) string {
		return table(append([]string{uint_(1), uint_(1), uint_(2), id, uint_(3), salt}, append(more, uint_(5), body)...)...)
	}
	wrong := byts(strings.Repeat("w", 48))
	slots("a wrap that does not open, then a good one", "tampered", key(id, salt, wrong), good)
	slots("a good one, then a wrap that does not open", "", good, key(id, salt, wrong))
	slots("parameters in a key slot", "format", key(id, salt, body, uint_(4), arr(uint_(1))), good)
	slots("a wrap of 47 bytes", "format", key(id, salt, byts(strings.Repeat("w", 47))), good)
	slots("a wrap of 49 bytes", "format", key(id, salt, byts(strings.Repeat("w", 49))), good)
	slots("a salt of 31 bytes", "format", key(id, byts(strings.Repeat("s", 31)), wrong), good)
	slots("another's id, a wrap of 47 bytes", "format", key(byts(strings.Repeat("x", 16)), salt, byts(strings.Repeat("w", 47))), good)
	slots("an id of 15 bytes", "format", key(byts(strings.Repeat("x", 15)), salt, wrong), good)
	judge(t, cases)
}

func repeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// TestForgedPassphraseSlots: costs, and fields that do not belong.
func TestForgedPassphraseSlots(t *testing.T) {
	salt, body := byts(strings.Repeat("s", 32)), byts(strings.Repeat("w", 48))
	slot := func(passes, memory, threads uint64) string {
		return table(uint_(1), uint_(2), uint_(3), salt, uint_(4), arr(uint_(passes), uint_(memory), uint_(threads)), uint_(5), body)
	}
	cases := map[string]want{}
	for name, c := range map[string]struct {
		kind string
		slot string
	}{
		"wrong":                  {"no key", slot(1, 8, 1)},
		"0 passes":               {"format", slot(0, 8, 1)},
		"0 threads":              {"format", slot(1, 8, 0)},
		"too little memory":      {"format", slot(1, 15, 2)},
		"9 passes":               {"unsupported", slot(9, 8, 1)},
		"17 threads":             {"unsupported", slot(1, 1024, 17)},
		"more than 1 GiB":        {"unsupported", slot(1, 1<<20+1, 1)},
		"2^32 passes":            {"unsupported", slot(1<<32, 8, 1)},
		"2^32+1 threads":         {"unsupported", slot(1, 1<<40, 1<<32+1)},
		"0 passes, and too much": {"unsupported", slot(0, 1<<40, 1)},
		"two parameters":         {"format", table(uint_(1), uint_(2), uint_(3), salt, uint_(4), arr(uint_(1), uint_(8)), uint_(5), body)},
		"with an id":             {"format", table(uint_(1), uint_(2), uint_(2), byts("x"), uint_(3), salt, uint_(4), arr(uint_(1), uint_(8), uint_(1)), uint_(5), body)},
		"short salt":             {"format", table(uint_(1), uint_(2), uint_(3), byts("s"), uint_(4), arr(uint_(1), uint_(8), uint_(1)), uint_(5), body)},
		"short body":             {"format", table(uint_(1), uint_(2), uint_(3), salt, uint_(4), arr(uint_(1), uint_(8), uint_(1)), uint_(5), byts("b"))},
	} {
		cases[name] = want{forgery{headerWith(arr(stage(c.slot))), hello()}, c.kind}
	}
	cases["two of them"] = want{forgery{headerWith(arr(stage(slot(1, 8, 1), slot(1, 8, 1)))), hello()}, "format"}
	cases["with a key"] = want{forgery{headerWith(arr(stage(goodSlot(t), slot(1, 8, 1)))), hello()}, "format"}
	judge(t, cases)
}

// TestForgedPublicKeySlots: what is for the reader's key pair, and is not as it should be.
func TestForgedPublicKeySlots(t *testing.T) {
	p, own := startPython(t), newPair(t)
	id := own.pub.ID()
	body := byts(strings.Repeat("w", 1088+32+48))
	slot := func(body, salt string, kem uint64) string {
		fields := []string{uint_(1), uint_(3), uint_(2), byts(string(id[:]))}
		if salt != "" {
			fields = append(fields, uint_(3), byts(salt))
		}
		return table(append(fields, uint_(4), arr(uint_(kem), uint_(1), uint_(2)), uint_(5), body)...)
	}
	for name, c := range map[string]struct{ slot, kind string }{
		"does not open":     {slot(body, "", 0x647a), "tampered"},
		"point of order 1":  {slot(byts(strings.Repeat("w", 1088)+strings.Repeat("\x00", 32)+strings.Repeat("w", 48)), "", 0x647a), "tampered"},
		"another KEM":       {slot(body, "", 0x20), "unsupported"},
		"KEM above 16 bits": {slot(body, "", 0x1647a), "unsupported"},
		"short body":        {slot(byts("w"), "", 0x647a), "tampered"},
		"body of only enc":  {slot(byts(strings.Repeat("w", 1088+32)), "", 0x647a), "tampered"},
		"long body":         {slot(byts(strings.Repeat("w", 1088+32+49)), "", 0x647a), "tampered"},
		"with a salt":       {slot(body, "s", 0x647a), "format"},
		"two parameters":    {table(uint_(1), uint_(3), uint_(2), byts(string(id[:])), uint_(4), arr(uint_(0x647a), uint_(1)), uint_(5), body), "format"},
		"short id":          {table(uint_(1), uint_(3), uint_(2), byts("x"), uint_(4), arr(uint_(0x647a), uint_(1), uint_(2)), uint_(5), body), "format"},
	} {
		f := forgery{headerWith(arr(stage(c.slot))), hello()}
		g := &given{Sealed: f.seal(t), Private: own.text}
		if a := agree(t, p, name, g, nil); a.Kind != c.kind {
			t.Errorf("%s: Go says %q (%s), want %q", name, a.Kind, a.Text, c.kind)
		}
	}
}

// TestForgedTrailers: trailer records and suffixes with right tags.
func TestForgedTrailers(t *testing.T) {
	h := headerWith(arr(stage(goodSlot(t))))
	cases := map[string]want{}
	record := func(name, kind string, fields ...string) {
		cases["record: "+name] = want{forgery{h, ended("hello", "", 0, table(append([]string{uint_(1), uint_(5)}, fields...)...))}, kind}
	}
	recovery := func(name, kind string, fields ...string) { record("recovery: "+name, kind, uint_(3), table(fields...)) }
	record("only the length", "")
	record("negative key", "", neg(1), nested(8))
	record("unknown key", "unsupported", uint_(4), uint_(0))
	record("digest of 31 bytes", "format", uint_(2), byts(strings.Repeat("x", 31)))
	record("no recovery map", "format", uint_(3), arr())
	recovery("empty", "")
	recovery("unknown keys", "", uint_(13), arr(), uint_(99), txt("x"), neg(1), neg(1))
	recovery("fields that say nothing", "", uint_(1), txt(""), uint_(2), byts(strings.Repeat("\x00", 16)), uint_(3), uint_(0), uint_(4), uint_(0),
		uint_(5), uint_(0), uint_(6), uint_(0), uint_(7), uint_(0), uint_(8), uint_(0), uint_(9), txt(""), uint_(10), table(), uint_(11), txt(""), uint_(12), uint_(0))
	recovery("path that is not UTF-8", "format", uint_(1), txt("\xc3"))
	recovery("path with a surrogate", "format", uint_(1), txt("\xed\xa0\x80"))
	recovery("path as bytes", "format", uint_(1), byts("a"))
	recovery("file id of 15 bytes", "format", uint_(2), byts(strings.Repeat("x", 15)))
	recovery("version of 64 bits", "", uint_(3), uint_(1<<64-1))
	recovery("negative version", "format", uint_(3), neg(1))
	recovery("the last extent", "", uint_(4), uint_(1<<31-1), uint_(5), uint_(1<<31-1))
	recovery("extent too high", "format", uint_(4), uint_(1<<31))
	recovery("extent beyond their number", "", uint_(4), uint_(7), uint_(5), uint_(3))
	recovery("earliest time", "", uint_(7), neg(1<<63), uint_(8), uint_(1<<63-1))
	recovery("time too late", "format", uint_(7), uint_(1<<63))
	recovery("time too early", "format", uint_(7), neg(1<<63+1))
	recovery("time as text", "format", uint_(7), txt("1"))
	recovery("mode too large", "format", uint_(12), uint_(1<<32))
	recovery("metadata out of order", "format", uint_(10), table(txt("b"), txt(""), txt("a"), txt("")))
	recovery("metadata: shorter first", "", uint_(10), table(txt("b"), txt(""), txt("aa"), txt("")))
	recovery("metadata twice", "format", uint_(10), table(txt("b"), txt(""), txt("b"), txt("")))
	recovery("metadata not UTF-8", "format", uint_(10), table(txt("b"), txt("\xff")))
	recovery("metadata of numbers", "format", uint_(10), table(uint_(1), txt("a")))
	recovery("skipped text not UTF-8", "format", uint_(13), txt("\xff"))

	whole := func(name, kind string, segments []forged) { cases[name] = want{forgery{h, segments}, kind} }
	size := func(n uint64) string { return table(uint_(1), uint_(n)) }
	whole("length 2^63", "format", ended("hello", "", 0, size(1<<63)))
	whole("record missing", "format", ended("hello", "", 0, ""))
	whole("no suffix", "format", []forged{{4, 1, "short"}})
	whole("not in the last segment", "truncated", []forged{{4, 0, strings.Repeat("x", 1024)}})
	whole("data after the trailer began", "tampered", append([]forged{{4, 0, strings.Repeat("x", 1024)}, {1, 0, strings.Repeat("x", 1024)}}, hello()...))
	whole("end block without end", "format", append(slicesOf(forged{4, 0, strings.Repeat("x", 1024)}, 80), hello()...))
	filler := strings.Repeat("x", 65_536-len(table(uint_(1), uint_(5), neg(1), byts(strings.Repeat("x", 60_000)))))
	longest := table(uint_(1), uint_(5), neg(1), byts(strings.Repeat("x", 60_000)+filler))
	whole("the longest record", "", cut(end("hello", "", 0, longest)))
	longer := table(uint_(1), uint_(5), neg(1), byts(strings.Repeat("x", 60_001)+filler))
	whole("a record one byte longer", "format", cut(end("hello", "", 0, longer)))
	kib := strings.Repeat("d", 1024)
	whole("data in the end block that fills a segment", "format", cut(end(kib+"hello", "", 0, size(1029))))
	judge(t, cases)
}

// TestForgedKinds: segments of the right number and length, one of another kind
// than its place asks for.
func TestForgedKinds(t *testing.T) {
	h := strings.Replace(headerWith(arr(stage(goodSlot(t)))), "\x05\x00\x06", "\x05\x01\x06", 1) // Padmé
	const d, z = 33_000, 1783                                                                    // 34,816 with record and suffix
	record := table(uint_(1), uint_(d))
	rest := strings.Repeat("d", d%1024) + strings.Repeat("\x00", z%1024) + record + suffix(d, 0, z, len(record))
	file := func(padding byte, fill string) forgery {
		segments := append(slicesOf(forged{1, 0, strings.Repeat("d", 1024)}, d/1024), forged{padding, 0, strings.Repeat(fill, 1024)})
		return forgery{h, append(segments, forged{4, 1, rest})}
	}
	judge(t, map[string]want{
		"padding":                  {file(3, "\x00"), ""},
		"padding that is not zero": {file(3, "x"), ""},
		"padding as a table":       {file(2, "\x00"), "format"},
		"padding as end block":     {file(4, "\x00"), "format"},
		"padding as data":          {file(1, "\x00"), "format"},
	})
}

func slicesOf(s forged, n int) []forged {
	out := make([]forged, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// cut makes an end block into segments of 1,024 bytes.
func cut(end string) (out []forged) {
	for len(end) > 1024 {
		out = append(out, forged{4, 0, end[:1024]})
		end = end[1024:]
	}
	return append(out, forged{4, 1, end})
}

// TestForgedFrames: compressed data with right tags that no compressor makes.
func TestForgedFrames(t *testing.T) {
	h := zstdHeader(arr(stage(goodSlot(t))))
	cases := map[string]want{}
	file := func(name, kind string, size int, frames ...string) {
		data, offsets := "", ""
		for _, f := range frames {
			data += f
			offsets += string(binary.BigEndian.AppendUint64(nil, uint64(len(data))))
		}
		cases[name] = want{forgery{h, ended(data, offsets, 0, table(uint_(1), uint_(uint64(size))))}, kind}
	}
	plain := strings.Repeat("a", 500)
	body := compressed(t, plain)
	file("as it should be", "", 500, frame(500, body))
	file("stored as it is", "", 5, frame(5, "hello"))
	file("a checksum that does not match", "format", 500, frame(500, body[:len(body)-1]+"x"))
	file("two zstd frames in one", "format", 500, frame(500, compressed(t, plain[:250])+compressed(t, plain[:250])))
	file("a frame and an empty one", "format", 500, frame(500, body+compressed(t, "")))
	file("a frame and a skippable one", "format", 500, frame(500, body+"\x50\x2a\x4d\x18\x01\x00\x00\x00x"))
	file("only a skippable frame", "format", 500, frame(500, "\x50\x2a\x4d\x18\x01\x00\x00\x00x"))
	file("bytes after the frame", "format", 500, frame(500, body+"x"))
	file("decompresses to more", "format", 499, frame(499, body))
	file("decompresses to less", "format", 501, frame(501, body))
	file("shorter frame before the last", "format", 1000, frame(500, body), frame(500, body))
	file("empty frame", "format", 0, frame(0, ""))
	// Blocks written by hand: RFC 8878, 3.1.1.
	repeated := func(n int) string { return string([]byte{byte(n<<3) | 3, byte(n >> 5), byte(n >> 13), 'a'}) } // last block, RLE
	file("window of 1 MiB, no length", "", 500, frame(500, "\x28\xb5\x2f\xfd\x00\x50"+repeated(500)))
	file("window of 1.125 MiB", "format", 500, frame(500, "\x28\xb5\x2f\xfd\x00\x51"+repeated(500)))
	file("window of 2 MiB", "format", 500, frame(500, "\x28\xb5\x2f\xfd\x00\x58"+repeated(500)))
	file("dictionary", "format", 500, frame(500, "\x28\xb5\x2f\xfd\x01\x50\x07"+repeated(500)))
	file("dictionary of id 0", "", 500, frame(500, "\x28\xb5\x2f\xfd\x01\x50\x00"+repeated(500)))
	file("reserved bit", "format", 500, frame(500, "\x28\xb5\x2f\xfd\x08\x50"+repeated(500)))
	file("another length in its head", "format", 500, frame(500, "\x28\xb5\x2f\xfd\x60\x00\x00"+repeated(500)))
	file("its length in its head", "", 500, frame(500, "\x28\xb5\x2f\xfd\x60\xf4\x00"+repeated(500)))
	file("no block", "format", 500, frame(500, "\x28\xb5\x2f\xfd\x00\x50"))
	table0 := func(name, kind, offsets string) {
		cases[name] = want{forgery{h, ended(frame(5, "hello"), offsets, 0, table(uint_(1), uint_(5)))}, kind}
	}
	table0("no table", "format", "")
	table0("two entries for a frame", "format", strings.Repeat("\x00", 16))
	judge(t, cases)
}

func frame(plain int, body string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(plain))
	return string(binary.BigEndian.AppendUint32(b, uint32(len(body)))) + body
}

func compressed(t testing.TB, s string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithZeroFrames(true))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return string(w.EncodeAll([]byte(s), nil))
}

// TestForgedAtRandom changes headers and trailer records at random, and seals
// them with a right MAC and right tags. (Not zstd's blocks: how much of malformed
// ones a decompressor notices is its own.)
func TestForgedAtRandom(t *testing.T) {
	p, r := startPython(t), rand.New(rand.NewPCG(20, seed()))
	slot := table(uint_(1), uint_(200), uint_(2), byts("me"), uint_(4), arr(uint_(1), uint_(300)), neg(1), uint_(1))
	header := headerWith(arr(stage(slot, goodSlot(t))), neg(1), table(txt("a"), arr(uint_(1))))
	record := table(uint_(1), uint_(5), uint_(3), table(uint_(1), txt("/a"), uint_(3), uint_(7), uint_(5), uint_(1), uint_(7), neg(1000),
		uint_(9), txt("t"), uint_(10), table(txt("k"), txt("v")), uint_(12), uint_(0o640), neg(5), arr(uint_(9))))
	kinds := map[string]int{}
	for i := range forgeries() {
		h, segments := header, hello()
		if i%2 == 0 {
			h = changed(r, h)
		} else {
			segments = ended("hello", "", 0, changed(r, record))
		}
		g := &given{Sealed: forgery{h, segments}.seal(t), Keys: bothKeys}
		a := agree(t, p, fmt.Sprintf("header %x, segments %x", h, segments), g, nil)
		kinds[a.Kind]++
	}
	for _, kind := range []string{"", "format", "unsupported", "tampered", "no key"} {
		if kinds[kind] == 0 {
			t.Errorf("no forgery was found %q: %v", kind, kinds)
		}
	}
}

// forgeries is how many files are forged at random; EFS_TEST_FORGERIES sets it,
// and then each run makes others.
func forgeries() int {
	if n, err := strconv.Atoi(os.Getenv("EFS_TEST_FORGERIES")); err == nil {
		return n
	}
	return 2000
}

func seed() uint64 {
	if os.Getenv("EFS_TEST_FORGERIES") == "" {
		return 26
	}
	return rand.Uint64()
}

// changed is s with some bytes changed, taken away, doubled or put in.
func changed(r *rand.Rand, s string) string {
	for range 1 + r.IntN(3) {
		s = changedOnce(r, s)
	}
	return s
}

func changedOnce(r *rand.Rand, s string) string {
	i := r.IntN(len(s))
	b := string([]byte{byte(r.Uint32())})
	switch r.IntN(5) {
	case 0:
		return s[:i] + s[i+1:]
	case 1:
		return s[:i] + s[i:i+1] + s[i:]
	case 2:
		return s[:i] + b + s[i:]
	case 3:
		return s[:i] + b + s[i+1:]
	default:
		return s[:i] + string([]byte{s[i] ^ 1<<r.IntN(8)}) + s[i+1:]
	}
}
