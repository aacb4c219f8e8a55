package salvage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

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
	r     *reader
	size  int64
	parts []part
	lost  []archive.Range // in order
	why   error           // of the first loss
}

// part is an extent: in memory, known to be whole, or what remains of it; or
// nothing.
type part struct {
	efs.Extent
	plain   []byte
	whole   bool // and closed meanwhile: a file may have a thousand
	remains *seal.Salvage
	blob    *blob // of remains
}

// openContent opens what is left of the contents of e, and finds out what is
// lost. efs.ErrForgotten if its erasure unit was forgotten.
func (r *reader) openContent(ctx context.Context, e *efs.Entry) (*content, error) {
	c := &content{r: r, size: e.Size, parts: make([]part, len(e.Extents))}
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
	want := r.expect(p)
	if p.Inline {
		return r.openInline(ctx, e, p, want)
	}
	b, err := r.blobs.open(p.Content)
	if err != nil {
		return err
	}
	err = r.readWhole(e, p, b, want)
	if err == nil || errors.Is(err, efs.ErrForgotten) || errors.Is(err, seal.ErrNoKey) || errors.Is(err, errOther) {
		return errors.Join(err, b.Close())
	}
	rest := *want
	rest.Size, rest.PlainSize = -1, -1
	s, serr := seal.NewSalvage(b, b.size, &rest)
	if serr != nil {
		return errors.Join(err, b.Close())
	}
	p.remains, p.blob = s, b
	return err
}

// errOther: authentic, but not what the entry means.
var errOther = errors.New("the content is not the one that its entry means")

// readWhole reads all of a blob, into memory where the file is small.
func (r *reader) readWhole(e *efs.Entry, p *part, b *blob, want *seal.Open) (err error) {
	if b.size != p.Sealed {
		return fmt.Errorf("%w: its length is %d, not %d", seal.ErrTruncated, b.size, p.Sealed)
	}
	s, err := seal.NewReaderAt(b, b.size, want)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // only read
	t, err := s.Trailer()
	if err != nil {
		return err
	}
	if err := agree(e, p, t); err != nil {
		return err
	}
	if e.Size > inMemory {
		err = s.Verify()
		p.whole = err == nil
		return err
	}
	plain := make([]byte, p.Length)
	n, err := s.ReadAt(plain, 0)
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

// Close wipes what is open.
func (c *content) Close() error {
	var errs []error
	for i := range c.parts {
		p := &c.parts[i]
		clear(p.plain)
		if p.remains != nil {
			errs = append(errs, p.remains.Close(), p.blob.Close())
		}
	}
	return errors.Join(errs...)
}
