package fsys

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
)

// someEntries are of every form: the usual ones and those that the general
// decoder is left with.
func someEntries() []efs.Entry {
	dir := efs.Entry{File: efs.ID{1}, Kind: efs.KindDir, Version: 1, ETag: "e", Created: 5, Modified: -7, Name: "é"}
	file := efs.Entry{
		File: efs.NewTimeID(), Kind: efs.KindFile, Version: 1 << 40, ETag: newETag(), Size: 70_000,
		Digest: bytes.Repeat([]byte{9}, 32), DigestKind: efs.DigestFull,
		Extents: []efs.Extent{
			{Length: 4096, Sealed: 4992, Content: efs.NewTimeID(), Inline: true, Policy: 1},
			{Offset: 4096, Length: 65_904, Sealed: 1 << 33, Content: efs.NewID()},
		},
		Created: 1 << 50, Modified: 1<<50 + 1, Type: "text/plain", Owner: "app1", Mode: 0o640, Name: "prescription.pdf",
	}
	meta, link := file, dir
	meta.Meta = map[string]string{"a": "1", "": ""}
	link.Kind, link.Target = efs.KindSymlink, "elsewhere"
	return []efs.Entry{dir, file, meta, link, {}}
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
		if usual := e.Meta == nil && e.Target == "" && e.Name != ""; r.odd == usual {
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
