package salvage

import (
	"io"
	"slices"

	"github.com/efs-project/efs/internal/counted"
	"github.com/efs-project/efs/seal"
)

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
	case p.whole:
		out := &counted.Writer{W: w}
		err := c.r.copyPart(out, p)
		if out.Err != nil || err == nil {
			return out.Err
		}
		if c.why == nil {
			c.why = err
		}
		c.lose(p.Offset+out.N, p.Offset+p.Length)
		return zeros(w, p.Length-out.N)
	case p.remains != nil:
		return writeRemains(w, p)
	}
	return zeros(w, p.Length)
}

// copyPart writes an extent that is whole.
func (r *reader) copyPart(w io.Writer, p *part) error {
	b, err := r.blobs.open(p.Content)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // only read
	s, err := seal.NewReaderAt(b, b.size, r.expect(p))
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return s.ReadRange(w, 0, p.Length)
}

// expect says what the content of an extent must be.
func (r *reader) expect(p *part) *seal.Open {
	return &seal.Open{FS: r.keys.ID, Content: p.Content, Identities: r.ids, Size: p.Sealed, PlainSize: p.Length}
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

var nothing [64 << 10]byte

func zeros(w io.Writer, n int64) error {
	for ; n > 0; n -= int64(len(nothing)) {
		if _, err := w.Write(nothing[:min(n, int64(len(nothing)))]); err != nil {
			return err
		}
	}
	return nil
}
