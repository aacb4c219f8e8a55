package fsys

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"pgregory.net/rapid"
)

// someEntries are of every form: the usual ones and those that the general
// decoder is left with.
func someEntries() []efs.Entry {
	dir := efs.Entry{File: efs.ID{1}, Kind: efs.KindDir, Version: 1, ETag: "e", Created: 5, Modified: -7, Name: "é"}
	file := efs.Entry{
		File: efs.NewTimeID(), Kind: efs.KindFile, Version: 1 << 40, ETag: newETag(), Size: 70_000,
		Digest: bytes.Repeat([]byte{9}, 32), DigestKind: efs.DigestFull,
		Extents: []efs.Extent{
			{Length: 4096, Sealed: 4992, Content: efs.NewTimeID(), Inline: true, Policy: 1, Epoch: 3},
			{Offset: 4096, Length: 65_904, Sealed: 1 << 33, Content: efs.NewID()},
		},
		Created: 1 << 50, Modified: 1<<50 + 1, Type: "text/plain", Owner: "app1", Mode: 0o640, Name: "prescription.pdf",
	}
	meta, link := file, dir
	meta.Meta = map[string]string{"a": "1", "": ""}
	link.Kind, link.Target = efs.KindSymlink, "elsewhere"
	return []efs.Entry{dir, file, meta, link, {}}
}

// Whatever is in an entry or a change, its encoding is that of the general
// encoder, and has the room it was given.
func TestEntriesAreEncodedAsByTheGeneralEncoder(t *testing.T) {
	same := func(what any, got []byte, err error) {
		t.Helper()
		want, wantErr := detcbor.Marshal(what)
		if err != nil || wantErr != nil || !bytes.Equal(got, want) {
			t.Fatalf("%+v: encoded %x, %v; want %x, %v", what, got, err, want, wantErr)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		e := randomEntry(t)
		got, err := encodeEntry(&e)
		same(&e, got, err)
		if len(e.Meta) == 0 && cap(got) != entryRoom(&e) {
			t.Fatalf("%+v took more than %d bytes", e, entryRoom(&e))
		}
		c := efs.Change{Op: efs.OpCreate, Time: e.Created, User: e.Owner, Path: e.Name, From: e.Target, Dir: e.File}
		if rapid.Bool().Draw(t, "before") {
			c.Before = &e
		}
		if rapid.Bool().Draw(t, "after") {
			c.After = &e
		}
		if rapid.Bool().Draw(t, "origin") {
			c.Origin = &efs.Origin{Op: e.Name, Session: e.Type, Request: e.ETag, From: e.Owner, Method: e.Target, Name: e.Digest}
		}
		got, err = encodeChange(&c)
		same(&c, got, err)
	})
}

func randomEntry(t *rapid.T) (e efs.Entry) {
	text := func(name string) string { return rapid.StringN(0, 80, -1).Draw(t, name) }
	number := func(name string) int64 {
		return rapid.OneOf(rapid.Int64(), rapid.Int64Range(0, 300)).Draw(t, name)
	}
	e = efs.Entry{
		File: efs.NewID(), Kind: efs.Kind(rapid.Byte().Draw(t, "kind")), Version: uint64(number("version")),
		ETag: text("etag"), Size: number("size"), Digest: rapid.SliceOfN(rapid.Byte(), 0, 33).Draw(t, "digest"),
		DigestKind: efs.DigestKind(rapid.Byte().Draw(t, "digest kind")), Created: number("created"), Modified: number("modified"),
		Type: text("type"), Owner: text("owner"), Mode: rapid.Uint32().Draw(t, "mode"), Target: text("target"), Name: text("name"),
	}
	for range rapid.IntRange(0, 30).Draw(t, "extents") {
		e.Extents = append(e.Extents, efs.Extent{
			Offset: number("offset"), Length: number("length"), Sealed: number("sealed"), Content: efs.NewID(),
			Inline: rapid.Bool().Draw(t, "inline"), Policy: int(number("policy")), Epoch: int(number("epoch")),
		})
	}
	if rapid.IntRange(0, 4).Draw(t, "has metadata") == 0 {
		e.Meta = map[string]string{text("key"): text("value"), "a": ""}
	}
	return e
}

func TestEntriesAreDecodedAsByTheGeneralDecoder(t *testing.T) {
	for _, e := range someEntries() {
		b, err := detcbor.Marshal(&e)
		if err != nil {
			t.Fatal(err)
		}
		var got efs.Entry
		if err := decodeEntry(b, &got); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("decoded %+v, %v; want %+v", got, err, e)
		}
		r := entryReader{rest: string(b)}
		r.entry(&got)
		if usual := e.Meta == nil && e.Name != ""; r.odd == usual {
			t.Errorf("%+v: taken for odd: %v", e, r.odd)
		}
	}
}

// FuzzDecodeEntry: whatever the bytes, the result is that of the general
// decoder.
func FuzzDecodeEntry(f *testing.F) {
	for _, e := range someEntries() {
		b, err := detcbor.Marshal(&e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Add([]byte{0xa1, 0x18, 0x03, 0x01})                   // a key not in its shortest form
	f.Add([]byte{0xa2, 0x03, 0x01, 0x03, 0x01})             // a key twice
	f.Add([]byte{0xa2, 0x09, 0x01, 0x03, 0x01})             // keys out of order
	f.Add([]byte{0xa1, 0x18, 0x63, 0x01})                   // a later version's key
	f.Add([]byte{0xa1, 0x08, 0x9b, 255, 255, 255, 255, 10}) // more extents than there are bytes
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, want efs.Entry
		err, wantErr := decodeEntry(b, &got), detcbor.UnmarshalKnown(b, &want)
		if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%x: decoded %+v, %v; the general decoder says %+v, %v", b, got, err, want, wantErr)
		}
	})
}

func BenchmarkDecodeEntry(b *testing.B) {
	enc, err := detcbor.Marshal(&someEntries()[1])
	if err != nil {
		b.Fatal(err)
	}
	for name, decode := range map[string]func([]byte, *efs.Entry) error{
		"hand": decodeEntry, "general": func(b []byte, e *efs.Entry) error { return detcbor.UnmarshalKnown(b, e) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var e efs.Entry
				if err := decode(enc, &e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncodeEntry(b *testing.B) {
	e := &someEntries()[1]
	for name, encode := range map[string]func(*efs.Entry) ([]byte, error){
		"hand": encodeEntry, "general": func(e *efs.Entry) ([]byte, error) { return detcbor.Marshal(e) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := encode(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
