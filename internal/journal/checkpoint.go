package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/efs-project/efs"
)

// scanPage is how many records are read at once.
const scanPage = 256

// WriteCheckpoint writes all records of s, and its release queue, to w under
// the key. What was written counts when WriteCheckpoint has returned nil; it
// is for the caller to make it durable.
func WriteCheckpoint(ctx context.Context, w io.Writer, key []byte, s Snapshot) error {
	return writeCheckpoint(ctx, w, key, s, 0)
}

func writeCheckpoint(ctx context.Context, w io.Writer, key []byte, s Snapshot, number uint64) error {
	h := s.Head()
	out, err := newStreamWriter(w, key, fileHeader{kind: kindCheckpoint, number: number, fs: h.FS})
	if err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	c := chunker{out: out, buf: appendHead(make([]byte, 0, chunkSize), h.Revision, h)}
	for space := efs.Space(1); int(space) <= efs.Spaces; space++ {
		if err := c.space(ctx, s, space); err != nil {
			return fmt.Errorf("writing a checkpoint: %w", err)
		}
	}
	err = c.queue(ctx, s)
	if err == nil {
		// Once more, so that a file whose last chunk opens is known to be whole.
		c.buf = appendHead(c.buf, h.Revision, h)
		err = out.chunk(chunkEnd, c.buf)
	}
	if err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	return nil
}

// chunker fills chunks with whole items.
type chunker struct {
	out *streamWriter
	buf []byte
}

// room sees to it that an item of n bytes can be appended.
func (c *chunker) room(n int) error {
	if len(c.buf) == 0 || len(c.buf)+n <= chunkSize {
		return nil
	}
	err := c.out.chunk(chunkData, c.buf)
	c.buf = c.buf[:0]
	return err
}

func (c *chunker) space(ctx context.Context, s Snapshot, space efs.Space) error {
	var after []byte
	for {
		records, err := s.Scan(ctx, space, nil, after, scanPage)
		if err != nil {
			return err
		}
		for i := range records {
			r := &records[i]
			if err := c.room(putLen + len(r.Key) + len(r.Sealed)); err != nil {
				return err
			}
			c.buf = appendPut(c.buf, efs.Key{Space: space, Bytes: r.Key}, r.Version, r.Sealed)
		}
		if len(records) < scanPage {
			return nil
		}
		after = records[len(records)-1].Key
	}
}

func (c *chunker) queue(ctx context.Context, s Snapshot) error {
	var after efs.Release
	for {
		page, err := s.Queued(ctx, after, scanPage)
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := c.room(queueLen); err != nil {
				return err
			}
			c.buf = appendQueue(c.buf, r)
		}
		if len(page) < scanPage {
			return nil
		}
		after = page[len(page)-1]
	}
}

// ReadCheckpoint calls put with each record of a checkpoint. What cannot be
// read of a damaged one is left out, and told in the report. Errors: put's,
// the reader's, efs.ErrDamaged if not even the first chunk opens (or the key is
// another), efs.ErrUnsupported for one of a later format.
func ReadCheckpoint(r io.Reader, key []byte, put func(k efs.Key, sealed []byte) error) (Report, error) {
	return ReadCheckpointTo(r, key, onlyPuts(put))
}

func onlyPuts(put func(k efs.Key, sealed []byte) error) *Visitor {
	return &Visitor{Put: func(k efs.Key, _ uint64, sealed []byte) error { return put(k, sealed) }}
}

// ReadCheckpointTo is ReadCheckpoint for all that a checkpoint holds.
func ReadCheckpointTo(r io.Reader, key []byte, v *Visitor) (Report, error) {
	rep, _, err := readCheckpoint(r, key, v)
	return rep, err
}

func readCheckpoint(r io.Reader, key []byte, v *Visitor) (rep Report, h fileHeader, err error) {
	s, err := openStream(r, key)
	if err != nil {
		return rep, h, fmt.Errorf("reading a checkpoint: %w", err)
	}
	if s.head.kind != kindCheckpoint {
		return rep, s.head, fmt.Errorf("reading a checkpoint: %w: it is none", efs.ErrDamaged)
	}
	c := checkpointReader{s: s, v: v}
	if err := c.read(); err != nil {
		return c.rep, s.head, fmt.Errorf("reading a checkpoint: %w", err)
	}
	c.rep.Complete = c.rep.Lost == ""
	return c.rep, s.head, nil
}

type checkpointReader struct {
	s     *streamReader
	v     *Visitor
	rep   Report
	began bool
	ended bool // the last head was read
}

// read goes through the chunks, and on behind those that do not open.
func (c *checkpointReader) read() error {
	for {
		plain, err := c.s.next()
		switch {
		case errors.Is(err, io.EOF):
			if !c.ended {
				c.lost("it was cut off at byte %d", c.s.at)
			}
			return c.nothing()
		case isLoss(err):
			from := c.s.at
			ok, err := c.s.resync()
			if err != nil {
				return err
			}
			if !ok {
				c.lost("what lies behind byte %d does not open", from)
				return c.nothing()
			}
			c.lost("bytes %d to %d do not open", from, c.s.at)
		case err != nil:
			return err
		default:
			if err := c.items(plain); err != nil {
				return err
			}
		}
	}
}

// nothing is an error if nothing at all could be read.
func (c *checkpointReader) nothing() error {
	if c.began {
		return nil
	}
	return fmt.Errorf("%w: nothing in it opens with this key: it was altered, or belongs to another file system", efs.ErrDamaged)
}

func (c *checkpointReader) items(plain []byte) error {
	for len(plain) > 0 {
		it, rest, err := nextItem(plain)
		if err != nil {
			return err
		}
		plain = rest
		switch it.kind {
		case itemHead:
			c.rep.setHead(c.s.head.fs, it.head)
			c.ended = c.s.ended
		case itemPut:
			c.rep.Records++
		}
		if err := c.v.visit(&it); err != nil {
			return err
		}
	}
	c.began = true
	return nil
}

func (c *checkpointReader) lost(format string, args ...any) {
	c.rep.Holes = true
	c.rep.addLost("the checkpoint: " + fmt.Sprintf(format, args...))
}

func (r *Report) addLost(s string) {
	if r.Lost != "" {
		r.Lost += "; "
	}
	r.Lost += s
}

func (r *Report) setHead(fs efs.ID, h efs.Head) {
	h.FS = fs
	r.Head, r.Seq, r.Revision = h, h.Seq, h.Revision
}

// resync goes on behind a chunk that does not open, with the next one that
// does. Not ok: there is none. The chunks between are lost; that none was put
// in their place is sure, as each tells its number. It needs an io.ReadSeeker.
func (s *streamReader) resync() (ok bool, err error) {
	src, isSeeker := s.r.(io.ReadSeeker)
	if !isSeeker {
		return false, nil
	}
	from := s.at + 1
	for {
		at, counter, err := findChunk(src, from, s.counter)
		if err != nil || at < 0 {
			return false, err
		}
		if _, err := src.Seek(at, io.SeekStart); err != nil {
			return false, err
		}
		was := s.counter
		s.counter = counter
		start := s.at
		s.at = at
		_, err = s.next()
		if err == nil {
			// It opens: stand before it again.
			s.counter, s.at, s.ended = counter, at, false
			_, err = src.Seek(at, io.SeekStart)
			return err == nil, err
		}
		s.counter, s.at = was, start
		if !isLoss(err) && !errors.Is(err, io.EOF) {
			return false, err
		}
		from = at + 1
	}
}

// findChunk looks for a block that could be the beginning of a chunk with a number above
// counter. at < 0: there is none.
func findChunk(src io.ReadSeeker, from int64, counter uint64) (at int64, number uint64, err error) {
	at = align(from)
	if _, err := src.Seek(at, io.SeekStart); err != nil {
		return -1, 0, err
	}
	buf := make([]byte, 64*blockLen)
	for {
		n, err := io.ReadFull(src, buf)
		if err != nil && !isEnd(err) && !isLoss(err) {
			return -1, 0, err
		}
		for i := 0; i+chunkHeaderLen <= n; i += blockLen {
			number := binary.BigEndian.Uint64(buf[i+8:])
			if bytes.HasPrefix(buf[i:], chunkMagic) && number > counter && (buf[i+3] == chunkData || buf[i+3] == chunkEnd) {
				return at + int64(i), number, nil
			}
		}
		switch {
		case err == nil:
			at += int64(n)
		case isLoss(err): // the block that cannot be read is passed by
			at += int64(n)&^(blockLen-1) + blockLen
			if _, err := src.Seek(at, io.SeekStart); err != nil {
				return -1, 0, err
			}
		default:
			return -1, 0, nil
		}
	}
}
