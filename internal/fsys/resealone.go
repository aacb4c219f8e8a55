package fsys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// swap is a content sealed anew, to take the place of another.
type swap struct {
	old, new efs.Extent
	sealed   []byte // of an inline one
}

// relocation is a file whose contents were sealed anew. Entry, key and version
// are as they were found.
type relocation struct {
	entry   *efs.Entry
	unit    *unit // that it is sealed for
	convert bool  // it was sealed for none before
	key     entryKey
	version uint64
	swaps   []swap
}

// resealEntry seals a file's contents anew and puts them in place of the old
// ones: small ones with the batch, large ones at once. What the file is, its
// version and its ETag, stays. efs.ErrConflict if the file is no longer there.
func (fs *FS) resealEntry(ctx context.Context, limit *throttle, b *batch, r relocation) error {
	segs, err := fs.climb(ctx, r.key.dir())
	if errors.Is(err, efs.ErrNotFound) {
		return fmt.Errorf("%w: the directory was deleted", efs.ErrConflict)
	}
	if err != nil {
		return err
	}
	f, err := fs.openFile(ctx, r.entry)
	if err != nil {
		return err
	}
	defer f.Close()
	inline := true
	for i := range f.parts {
		s, err := fs.resealPart(ctx, limit, f, i, r.unit, join(append(segs, r.entry.Name)))
		if err != nil {
			fs.discard(ctx, r.swaps)
			return err
		}
		r.swaps = append(r.swaps, s)
		inline = inline && s.new.Inline
	}
	if inline {
		return b.add(ctx, r)
	}
	return b.one(ctx, r)
}

// resealPart seals one content of a file anew under the present policy. The
// plaintext passes through memory, and is compared with what the entry or the
// old trailer says of it.
func (fs *FS) resealPart(ctx context.Context, limit *throttle, f *File, i int, u *unit, path string) (s swap, err error) {
	p, done, err := f.part(i)
	if err != nil {
		return s, err
	}
	defer done()
	rec := recovery(path, &f.entry)
	rec.Extent, rec.Extents = i, len(f.parts)
	inline := p.Length <= int64(fs.policy.Load().InlineLimit)
	id := efs.NewID()
	if inline {
		id = efs.NewTimeID()
	}
	how, err := fs.sealing(u, id)
	if err != nil {
		return s, err
	}
	var info seal.Info
	if inline {
		s.sealed, info, err = fs.resealInline(ctx, limit, f, p, how, rec)
	} else {
		info, err = fs.resealBlob(ctx, limit, f, p, how, rec)
	}
	if err != nil {
		return s, err
	}
	s.old, s.new = p.Extent, how.extent(info, inline)
	s.new.Offset = p.Offset
	if info.Size != p.Length {
		err = fmt.Errorf("content %s: %w: it has another length than its entry says", p.Content, efs.ErrDamaged)
		fs.discard(ctx, []swap{s})
	}
	return s, err
}

func (fs *FS) resealInline(ctx context.Context, limit *throttle, f *File, p *part, how *sealing, rec seal.Recovery) ([]byte, seal.Info, error) {
	buf := bytes.NewBuffer(make([]byte, 0, p.Length))
	defer func() { clear(buf.Bytes()) }()
	if err := p.writeRange(limit.writer(ctx, buf), 0, p.Length); err != nil {
		return nil, seal.Info{}, err
	}
	sealed, info, err := seal.SealBytes(nil, buf.Bytes(), &how.Params, rec)
	if err != nil {
		return nil, info, fmt.Errorf("sealing: %w", err)
	}
	return sealed, info, f.same(p, info.SHA256[:])
}

func (fs *FS) resealBlob(ctx context.Context, limit *throttle, f *File, p *part, how *sealing, rec seal.Recovery) (info seal.Info, err error) {
	id := efs.ID(how.Content)
	fs.contents.begin(id)
	defer func() {
		if err != nil {
			fs.contents.end(id)
		}
	}()
	dst, err := fs.o.Blobs.Create(ctx, id)
	if err != nil {
		return info, fmt.Errorf("beginning a blob: %w", err)
	}
	if info, err = fs.resealInto(ctx, dst, limit, f, p, how, rec); err != nil {
		dst.Abort()
		return info, err
	}
	if err := dst.Commit(); err != nil {
		return info, fmt.Errorf("storing a blob: %w", err)
	}
	return info, nil
}

func (fs *FS) resealInto(ctx context.Context, dst io.Writer, limit *throttle, f *File, p *part, how *sealing, rec seal.Recovery) (info seal.Info, err error) {
	w, err := seal.NewWriter(dst, &how.Params)
	if err != nil {
		return info, fmt.Errorf("sealing: %w", err)
	}
	defer w.Abort()
	if err := p.writeRange(limit.writer(ctx, w), 0, p.Length); err != nil {
		return info, err
	}
	_, sum := w.Sum()
	if err := f.same(p, sum[:]); err != nil {
		return info, err
	}
	if info, err = w.Close(rec); err != nil {
		return info, fmt.Errorf("sealing: %w", err)
	}
	return info, nil
}

// same compares the digest of a content as it was read with what its trailer
// says, and that with the entry.
func (f *File) same(p *part, sum []byte) error {
	if p.r == nil {
		return nil // compared when it was opened, whole
	}
	t, err := p.r.Trailer()
	if err != nil {
		return damaged(p.Content, err)
	}
	if err := f.agree(p, t); err != nil {
		return err
	}
	if t.HasDigest && !bytes.Equal(t.SHA256[:], sum) {
		return fmt.Errorf("content %s: %w: its digest is another than its trailer says", p.Content, efs.ErrDamaged)
	}
	return nil
}

// discard removes new contents that no entry came to refer to.
func (fs *FS) discard(ctx context.Context, swaps []swap) {
	for i := range swaps {
		if s := &swaps[i]; !s.new.Inline {
			fs.removeBlob(ctx, s.new.Content)
			fs.contents.end(s.new.Content)
		}
	}
}
