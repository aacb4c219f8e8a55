package seal

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestParametersAreChecked(t *testing.T) {
	change := func(f func(p *Params)) Params {
		p := one(AES256GCM)
		f(&p)
		return p
	}
	many := func(n int) []Recipient {
		r := make([]Recipient, n)
		for i := range r {
			r[i] = KeyRecipient(kekA)
		}
		return r
	}
	for name, p := range map[string]Params{
		"no stage":            change(func(p *Params) { p.Stages = nil }),
		"too many stages":     change(func(p *Params) { p.Stages = make([]Stage, MaxStages+1) }),
		"no recipient":        change(func(p *Params) { p.Stages[0].Recipients = nil }),
		"too many recipients": change(func(p *Params) { p.Stages[0].Recipients = many(MaxSlots + 1) }),
		"unknown suite":       change(func(p *Params) { p.Stages[0].Suite = 9 }),
		"segment size":        change(func(p *Params) { p.SegmentSize = 1000 }),
		"unknown compression": change(func(p *Params) { p.Compression = 9 }),
		"frame size":          change(func(p *Params) { p.Compression, p.FrameSize = CompressZstd, 3 }),
		"unknown padding":     change(func(p *Params) { p.Padding = 9 }),
		"slot too long":       change(func(p *Params) { p.Stages[0].Recipients = []Recipient{fixedSlot{Type: 200, Body: make([]byte, 4097)}} }),
	} {
		if _, err := NewWriter(io.Discard, &p); !errors.Is(err, ErrParams) {
			t.Errorf("%s: NewWriter says %v", name, err)
		}
		if dst, _, err := SealBytes([]byte("x"), nil, &p, Recovery{}); !errors.Is(err, ErrParams) || string(dst) != "x" {
			t.Errorf("%s: SealBytes says %v", name, err)
		}
	}
	p := change(func(p *Params) { p.Stages[0].Recipients = many(MaxSlots) })
	if _, _, err := OpenBytes(nil, mustSeal(t, p, nil), testOpen()); err != nil {
		t.Errorf("as many recipients as allowed: %v", err)
	}
}

func TestRecoveryRecordsAreChecked(t *testing.T) {
	p := one(AES256GCM)
	for name, r := range map[string]Recovery{
		"too long":        {Path: strings.Repeat("x", MaxTrailer)},
		"not UTF-8":       {Path: "\xff"},
		"meta not UTF-8":  {Meta: map[string]string{"k": "\xff"}},
		"negative extent": {Extent: -1},
	} {
		if _, _, err := SealBytes(nil, nil, &p, r); !errors.Is(err, ErrParams) {
			t.Errorf("%s: SealBytes says %v", name, err)
		}
		w, err := NewWriter(io.Discard, &p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(r); !errors.Is(err, ErrParams) {
			t.Errorf("%s: Close says %v", name, err)
		}
	}
	// A trailer many segments long is found from its end.
	rec := Recovery{Path: strings.Repeat("p", 20000), Meta: map[string]string{"k": strings.Repeat("v", 20000)}}
	for _, sealed := range [][]byte{
		func() []byte { b, _, _ := SealBytes(nil, text(3000), &p, rec); return b }(),
		func() []byte { // the suffix alone in the last segment, and across two
			b, _, _ := SealBytes(nil, text(1024-28-6+14), &p, Recovery{})
			return b
		}(),
	} {
		for with, open := range openers {
			if _, _, err := open(sealed, testOpen()); err != nil {
				t.Errorf("%s: %v", with, err)
			}
		}
	}
}

func TestReadHeader(t *testing.T) {
	sealed := mustSeal(t, zstded(two()), text(100))
	h, err := ReadHeader(bytes.NewReader(sealed))
	if err != nil {
		t.Fatal(err)
	}
	id := kekB.ID()
	if h.FS != testFS || h.Content != testContent || h.SegmentSize != 1<<10 || h.FrameSize != 1<<10 || h.Compression != CompressZstd ||
		len(h.Stages) != 2 || h.Stages[1].Suite != ChaCha20Poly1305 || !bytes.Equal(h.Stages[1].Slots[0].Key, id[:]) {
		t.Errorf("header is %+v", h)
	}
	for name, c := range map[string]struct {
		b    string
		want error
	}{
		"nothing":         {"", ErrTruncated},
		"something else":  {"%PDF-1.7 and so on", ErrFormat},
		"start of magic":  {magic[:4], ErrTruncated},
		"newer version":   {magic[:7] + "\x02\x00\x00\x00\x01\xa0", ErrUnsupported},
		"no header":       {magic + "\x00\x00\x00\x00", ErrFormat},
		"too long header": {magic + "\x00\x01\x00\x01", ErrFormat},
		"huge header":     {magic + "\xff\xff\xff\xff", ErrFormat},
		"cut header":      {string(sealed[:40]), ErrTruncated},
	} {
		if _, err := ReadHeader(strings.NewReader(c.b)); !errors.Is(err, c.want) {
			t.Errorf("%s: ReadHeader says %v", name, err)
		}
		for with, open := range openers {
			if _, _, err := open([]byte(c.b), testOpen()); !errors.Is(err, c.want) {
				t.Errorf("%s: %s says %v", name, with, err)
			}
		}
	}
}
