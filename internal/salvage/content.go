package salvage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/seal"
)

// inMemory is how large a file may be to be opened whole before anything of it
// is written, bytes. Larger ones are read twice: what is damaged must not come
// out under the name of what is whole.
const inMemory = 8 << 20

// content is what is left of a file's contents.
type content struct {
	size  int64
	parts []part
	lost  []archive.Range // in order
	why   error           // of the first loss
}

// part is an extent: one of plain, whole and remains, or nothing of it.
type part struct {
	efs.Extent
	plain   []byte
	whole   *seal.ReaderAt
	remains *seal.Salvage
	close   io.Closer
}

// openContent opens what is left of the contents of e, and finds out what is
// lost. efs.ErrForgotten if its erasure unit was forgotten.
func (r *reader) openContent(ctx context.Context, e *efs.Entry) (*content, error) {
	c := &content{size: e.Size, parts: make([]part, len(e.Extents))}
	for i, x := range e.Extents {
		p := &c.parts[i]
		p.Extent = x
		err := r.openPart(ctx, e, p)
		if errors.Is(err, efs.ErrForgotten) || ctx.Err() != nil {
			return nil, errors.Join(err, ctx.Err(), c.Close())
		}
		if err == nil {
			continue
		}
		if c.why == nil {
			c.why = err
		}
		if p.remains == nil {
			c.lose(x.Offset, x.Offset+x.Length)
			continue
		}
		for _, g := range p.remains.Lost() {
			if !g.Exact {
				c.lose(x.Offset+g.Offset, x.Offset+x.Length)
				break
			}
			c.lose(x.Offset+g.Offset, x.Offset+min(g.Offset+g.Length, x.Length))
		}
		if n := p.remains.Size(); n < x.Length {
			c.lose(x.Offset+n, x.Offset+x.Length)
		}
	}
	return c, nil
}

// lose notes a range as lost.
func (c *content) lose(from, to int64) {
	if n := len(c.lost); n > 0 && c.lost[n-1].To >= from {
		c.lost[n-1].To = max(c.lost[n-1].To, to)
	} else if from < to {
		c.lost = append(c.lost, archive.Range{From: from, To: to})
	}
}

// gone reports whether nothing is left.
func (c *content) gone() bool {
	return c.why != nil && (c.size == 0 || len(c.lost) == 1 && c.lost[0] == archive.Range{From: 0, To: c.size})
}

// openPart opens an extent. After an error its remains may be open.
func (r *reader) openPart(ctx context.Context, e *efs.Entry, p *part) error {
	want := &seal.Open{FS: r.keys.ID, Content: p.Content, Identities: r.ids, Size: p.Sealed, PlainSize: p.Length}
	if p.Inline {
		return r.openInline(ctx, e, p, want)
	}
	b, err := r.blobs.open(p.Content)
	if err != nil {
		return err
	}
	p.close = b
	err = r.openWhole(e, p, b, want)
	if err == nil || errors.Is(err, efs.ErrForgotten) || errors.Is(err, seal.ErrNoKey) || errors.Is(err, errOther) {
		return err
	}
	if p.whole != nil {
		_ = p.whole.Close() // what it held is given up
		p.whole = nil
	}
	rest := *want
	rest.Size, rest.PlainSize = -1, -1
	if s, serr := seal.NewSalvage(b, b.size, &rest); serr == nil {
		p.remains = s
	}
	return err
}

// errOther: authentic, but not what the entry means.
var errOther = errors.New("the content is not the one that its entry means")

// openWhole opens a blob and reads all of it.
func (r *reader) openWhole(e *efs.Entry, p *part, b *blob, want *seal.Open) (err error) {
	if b.size != p.Sealed {
		return fmt.Errorf("%w: its length is %d, not %d", seal.ErrTruncated, b.size, p.Sealed)
	}
	if p.whole, err = seal.NewReaderAt(b, b.size, want); err != nil {
		return err
	}
	t, err := p.whole.Trailer()
	if err != nil {
		return err
	}
	if err := agree(e, p, t); err != nil {
		return err
	}
	if p.Length > inMemory {
		return p.whole.Verify()
	}
	plain := make([]byte, p.Length)
	n, err := p.whole.ReadAt(plain, 0)
	if int64(n) == p.Length {
		p.plain = plain
		return nil
	}
	clear(plain)
	if err == nil || err == io.EOF {
		err = seal.ErrTruncated
	}
	return err
}

func agree(e *efs.Entry, p *part, t *seal.Trailer) error {
	same := t.Size == p.Length
	if len(e.Extents) == 1 && e.DigestKind == efs.DigestFull {
		same = same && t.HasDigest && bytes.Equal(t.SHA256[:], e.Digest)
	}
	if !same {
		return errOther
	}
	return nil
}

func (r *reader) openInline(ctx context.Context, e *efs.Entry, p *part, want *seal.Open) error {
	recs, err := r.records.Get(ctx, efs.Key{Space: efs.SpaceInline, Bytes: p.Content[:]})
	if err != nil {
		return err
	}
	if recs[0].Version == 0 {
		return fmt.Errorf("%w: its content", efs.ErrNotFound)
	}
	plain, t, err := seal.OpenBytes(nil, recs[0].Sealed, want)
	if err != nil {
		return err
	}
	p.plain = plain
	if err := agree(e, p, t); err != nil {
		clear(plain)
		p.plain = nil
		return err
	}
	return nil
}

// writeTo writes the contents, with zeros for what is lost. What fails only
// now is lost too, and zeros: the receiver's errors are returned.
func (c *content) writeTo(w io.Writer) error {
	for i := range c.parts {
		if err := c.writePart(w, &c.parts[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *content) writePart(w io.Writer, p *part) error {
	switch {
	case p.plain != nil:
		_, err := w.Write(p.plain)
		return err
	case p.whole != nil:
		out := &counted{w: w}
		err := p.whole.ReadRange(out, 0, p.Length)
		if out.err != nil || err == nil {
			return out.err
		}
		if c.why == nil {
			c.why = err
		}
		c.lose(p.Offset+out.n, p.Offset+p.Length)
		return zeros(w, p.Length-out.n)
	case p.remains != nil:
		return writeRemains(w, p)
	}
	return zeros(w, p.Length)
}

// writeRemains writes the blocks that are left, with zeros for the others.
func writeRemains(w io.Writer, p *part) error {
	var buf []byte
	size := int64(p.remains.BlockSize())
	sound := func(from, to int64) bool {
		return !slices.ContainsFunc(p.remains.Lost(), func(g seal.Lost) bool {
			return from < g.Offset+g.Length && g.Offset < to || !g.Exact && g.Offset < to
		})
	}
	for off := int64(0); off < p.Length; off += size {
		n := min(size, p.Length-off)
		var err error
		if sound(off, off+n) {
			buf, err = p.remains.ReadBlock(buf[:0], off/size)
			if err == nil && int64(len(buf)) == n {
				if _, err := w.Write(buf); err != nil {
					return err
				}
				continue
			}
		}
		if err := zeros(w, n); err != nil {
			return err
		}
	}
	clear(buf[:cap(buf)])
	return nil
}

// counted counts what a writer took, and remembers its error.
type counted struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}

var nothing [64 << 10]byte

func zeros(w io.Writer, n int64) error {
	for ; n > 0; n -= int64(len(nothing)) {
		if _, err := w.Write(nothing[:min(n, int64(len(nothing)))]); err != nil {
			return err
		}
	}
	return nil
}

// Close wipes what is open.
func (c *content) Close() error {
	var errs []error
	for i := range c.parts {
		p := &c.parts[i]
		clear(p.plain)
		if p.whole != nil {
			errs = append(errs, p.whole.Close())
		}
		if p.remains != nil {
			errs = append(errs, p.remains.Close())
		}
		if p.close != nil {
			errs = append(errs, p.close.Close())
		}
	}
	return errors.Join(errs...)
}
