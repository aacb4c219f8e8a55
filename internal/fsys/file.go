package fsys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// File is a file as of one moment: what happens to its path afterwards does
// not change it. It is safe for concurrent use until it is closed.
type File struct {
	fs    *FS
	entry efs.Entry
	cache Cache  // nil: none is used
	unit  *unit  // that it belongs to: once that is forgotten, nothing more is read
	parts []part // in the order of the entry's extents
	close sync.Once

	mu   sync.Mutex // guards which parts are open, where that changes
	idle []int      // open parts that nobody reads, longest first

	alsoPinned *FS // that deletes contents, where fs reads a snapshot of it

	one [1]part    // what parts lies in, with one extent as is usual
	key [1]efs.Key // of the content that is being opened
}

// part is an extent, opened: plain if it was inline.
type part struct {
	efs.Extent
	plain  []byte
	cached Cached // that plain belongs to; nil: to the file
	blob   efs.Blob
	r      *seal.ReaderAt
	used   *used // counts what is read with r

	readers int // of a part that is opened when it is read
}

// openTries bounds how often an entry is looked up again because its content
// had been replaced and deleted in between.
const openTries = 10

// Open opens the file at path. Nothing deletes its contents before Close.
// efs.ErrNotFound, efs.ErrIsDir, efs.ErrSymlink, efs.ErrDamaged.
func (fs *FS) Open(ctx context.Context, path string) (*File, error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.Open")
	f, err := fs.openPath(ctx, path, fs.o.Cache)
	span.EndWith(err)
	return f, err
}

// openPath is Open with the given cache, or none.
func (fs *FS) openPath(ctx context.Context, path string, cache Cache) (*File, error) {
	segs, err := ParsePath(path)
	if err != nil {
		return nil, err
	}
	if len(segs) == 0 {
		return nil, fmt.Errorf("%w: the root", efs.ErrIsDir)
	}
	var id efs.ID
	for range openTries {
		s, err := fs.found(ctx, segs)
		if err != nil {
			return nil, err
		}
		id = s.entry.File
		switch s.entry.Kind {
		case efs.KindFile:
		case efs.KindSymlink:
			return nil, fmt.Errorf("%w: '%s'", efs.ErrSymlink, s.path())
		default:
			return nil, fmt.Errorf("%w: '%s'", efs.ErrIsDir, s.path())
		}
		f, err := fs.openCached(ctx, s.entry, cache)
		if err == nil {
			f.unit = s.unit
			if f.lazy() {
				if err = f.still(ctx); err != nil {
					f.Close()
				}
			}
		}
		if !errors.Is(err, efs.ErrNotFound) {
			return f, err
		}
	}
	return nil, fmt.Errorf("%w: the contents of file %s are gone: run fsck", efs.ErrDamaged, id)
}

// openFile opens the contents of e. efs.ErrNotFound if one is gone.
func (fs *FS) openFile(ctx context.Context, e *efs.Entry) (*File, error) {
	return fs.openCached(ctx, e, nil)
}

// openCached is openFile by way of a cache, unless that is nil.
func (fs *FS) openCached(ctx context.Context, e *efs.Entry, cache Cache) (*File, error) {
	f := &File{fs: fs, entry: *e, cache: cache}
	if f.parts = f.one[:]; len(e.Extents) != 1 {
		f.parts = make([]part, len(e.Extents))
	}
	fs.contents.pin(e.Extents)
	for i, x := range e.Extents {
		f.parts[i].Extent = x
		if f.lazy() {
			continue
		}
		if cache != nil && f.fromCache(&f.parts[i]) {
			continue
		}
		if err := f.openPart(ctx, &f.parts[i]); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// expect says what the sealed file of an extent must be.
func (fs *FS) expect(x *efs.Extent) *seal.Open {
	return &seal.Open{
		FS: fs.o.ID, Content: x.Content, Identities: fs.ident,
		Size: x.Sealed, PlainSize: x.Length,
	}
}

func (f *File) openPart(ctx context.Context, p *part) error {
	if p.Inline {
		return f.openInline(ctx, p)
	}
	b, err := f.fs.o.Blobs.Open(ctx, p.Content)
	if err != nil {
		return fmt.Errorf("content %s: %w", p.Content, err)
	}
	p.blob = b
	if b.Size() != p.Sealed {
		return fmt.Errorf("content %s: %w: its length is %d, not %d", p.Content, efs.ErrDamaged, b.Size(), p.Sealed)
	}
	if p.r, err = seal.NewReaderAt(b, p.Sealed, f.fs.expect(&p.Extent)); err != nil {
		return damaged(p.Content, err)
	}
	p.used = f.fs.usage.of(p.Policy)
	p.used.opens.Add(1)
	return nil
}

// openInline opens a small content whole. With the digest it is certain to be
// what the entry means.
func (f *File) openInline(ctx context.Context, p *part) error {
	id := p.Content
	f.key[0] = efs.Key{Space: efs.SpaceInline, Bytes: p.Content[:]}
	recs, err := f.fs.o.Index.Get(ctx, f.key[:]...)
	if err != nil {
		return err
	}
	if recs[0].Version == 0 {
		return fmt.Errorf("content %s: %w", id, efs.ErrNotFound)
	}
	plain, trailer, err := seal.OpenInPlace(recs[0].Sealed, f.fs.expect(&p.Extent))
	if err != nil {
		return damaged(id, err)
	}
	p.plain = plain
	if err := f.agree(p, trailer); err != nil {
		return err
	}
	used := f.fs.usage.of(p.Policy)
	used.opens.Add(1)
	used.openedBytes(p.Length)
	f.keep(p)
	return nil
}

// agree compares a trailer with the entry.
func (f *File) agree(p *part, t *seal.Trailer) error {
	same := t.Size == p.Length
	if len(f.parts) == 1 && f.entry.DigestKind == efs.DigestFull {
		same = same && t.HasDigest && bytes.Equal(t.SHA256[:], f.entry.Digest)
	}
	if !same {
		return fmt.Errorf("content %s: %w: it is not the one that its entry means", p.Content, efs.ErrDamaged)
	}
	return nil
}

// sealErrors are what package seal says of bytes that are not what was stored.
// That no key opens them is one: while keys are live, they open what belongs
// to this file system.
var sealErrors = []error{seal.ErrTampered, seal.ErrTruncated, seal.ErrFormat, seal.ErrUnsupported, seal.ErrNoKey}

// damaged says in the terms of efs what went wrong with a content.
func damaged(id efs.ID, err error) error {
	for _, kind := range sealErrors {
		if errors.Is(err, kind) && !errors.Is(err, efs.ErrRefused) && !errors.Is(err, efs.ErrUnavailable) {
			return fmt.Errorf("content %s: %w: %w", id, efs.ErrDamaged, err)
		}
	}
	return fmt.Errorf("content %s: %w", id, err)
}

// Entry is the entry of the file as it was opened.
func (f *File) Entry() efs.Entry { return f.entry }

// Size is the length of the file, bytes.
func (f *File) Size() int64 { return f.entry.Size }

// ReadAt implements io.ReaderAt. It delivers no byte that has not been
// authenticated.
func (f *File) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("%w: negative offset", efs.ErrBadInput)
	}
	if err := f.unit.live(); err != nil {
		return 0, err
	}
	for i := f.first(off); i < len(f.parts) && n < len(b); i++ {
		m, err := f.readPart(i, b[n:], off)
		n, off = n+m, off+int64(m)
		if err != nil {
			return n, err
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// readPart reads from off, which lies in part i, up to the end of the part.
func (f *File) readPart(i int, b []byte, off int64) (int, error) {
	p, done, err := f.part(i)
	if err != nil {
		return 0, err
	}
	defer done()
	want := int(min(int64(len(b)), p.Offset+p.Length-off))
	return p.readAt(b[:want], off-p.Offset)
}

// readAt fills b, which lies within the part.
func (p *part) readAt(b []byte, off int64) (int, error) {
	if p.r == nil {
		return copy(b, p.plain[off:]), nil
	}
	n, err := p.r.ReadAt(b, off)
	p.used.openedBytes(int64(n))
	if n == len(b) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		return n, fmt.Errorf("content %s: %w: it ends early", p.Content, efs.ErrDamaged)
	}
	return n, damaged(p.Content, err)
}

// WriteRange writes n bytes from off on to w; n < 0 means all that follows. It
// writes no byte that has not been authenticated. For the whole file it
// returns nil only if the trailers agree with the entry too.
func (f *File) WriteRange(w io.Writer, off, n int64) error {
	if n < 0 {
		n = f.entry.Size - off
	}
	if off < 0 || n < 0 || off > f.entry.Size-n {
		return fmt.Errorf("%w: range of %d bytes from %d in a file of %d", efs.ErrBadInput, n, off, f.entry.Size)
	}
	if f.unit != nil {
		w = &errWriter{w: w, unit: f.unit}
	}
	whole := off == 0 && n == f.entry.Size
	from := 0
	if !whole {
		from = f.first(off)
	}
	for i := from; i < len(f.parts) && (whole || f.parts[i].Offset < off+n); i++ {
		if err := f.writePart(w, i, off, n, whole); err != nil {
			return err
		}
	}
	return nil
}

// writePart writes to w what of n bytes from off on lies in part i.
func (f *File) writePart(w io.Writer, i int, off, n int64, whole bool) error {
	p, done, err := f.part(i)
	if err != nil {
		return err
	}
	defer done()
	if whole {
		if done, err := f.writeCached(w, p); done || err != nil {
			return err
		}
	}
	from, to := max(off, p.Offset), min(off+n, p.Offset+p.Length)
	if from < to {
		if err := p.writeRange(w, from-p.Offset, to-from); err != nil {
			return err
		}
	}
	if whole {
		return f.finish(p)
	}
	return nil
}

func (p *part) writeRange(w io.Writer, off, n int64) error {
	if p.r == nil {
		_, err := w.Write(p.plain[off : off+n])
		return err
	}
	cw := &errWriter{w: w}
	if err := p.r.ReadRange(cw, off, n); err != nil {
		if cw.err != nil {
			return cw.err // the receiver's, not the content's
		}
		return damaged(p.Content, err)
	}
	p.used.openedBytes(n)
	return nil
}

// finish checks the trailer of a part that was read whole.
func (f *File) finish(p *part) error {
	if p.r == nil {
		return nil // checked when it was opened
	}
	t, err := p.r.Trailer()
	if err != nil {
		return damaged(p.Content, err)
	}
	return f.agree(p, t)
}

// verify reads the file whole, digests included.
func (f *File) verify() error {
	for i := range f.parts {
		if err := f.verifyPart(i); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) verifyPart(i int) error {
	p, done, err := f.part(i)
	if err != nil {
		return err
	}
	defer done()
	if p.r != nil {
		if err := p.r.Verify(); err != nil {
			return damaged(p.Content, err)
		}
	}
	return f.finish(p)
}

// present opens every part that is not open yet, to see that it is there.
func (f *File) present() error {
	for i := range f.parts {
		_, done, err := f.part(i)
		if err != nil {
			return err
		}
		done()
	}
	return nil
}

// Close gives the contents back and wipes what was open of them.
func (f *File) Close() error {
	var err error
	f.close.Do(func() {
		for i := range f.parts {
			err = errors.Join(err, f.parts[i].close())
		}
		f.fs.contents.unpin(f.entry.Extents)
		if f.alsoPinned != nil {
			f.alsoPinned.contents.unpin(f.entry.Extents)
		}
	})
	return err
}

// errWriter remembers the error of the writer below it. It takes no more of
// what was forgotten.
type errWriter struct {
	w    io.Writer
	unit *unit
	err  error
}

func (w *errWriter) Write(b []byte) (int, error) {
	if w.err = w.unit.live(); w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(b)
	if err != nil {
		w.err = err
	}
	return n, err
}
