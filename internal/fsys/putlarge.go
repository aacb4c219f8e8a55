package fsys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/ctxio"
	"github.com/efs-project/efs/seal"
)

// large streams body into a blob, makes that durable, and then commits the
// entry. Whatever fails, no blob is left, unless the outcome of the commit is
// unknown.
func (p *put) large(ctx context.Context, body io.Reader) error {
	id := efs.NewID()
	p.fs.contents.begin(id)
	defer p.fs.contents.end(id)
	info, err := p.blob(ctx, id, body)
	if err == nil {
		err = retry(func() error { return p.refer(ctx, id, info) })
	}
	switch {
	case err == nil:
		p.fs.work.settleLater(id)
	case errors.Is(err, efs.ErrStopped):
		// The index may have it. The next start finds out.
	case errors.Is(err, errOtherUnit):
		err = p.again(ctx, id, info)
		p.fs.removeBlob(ctx, id)
	default:
		p.fs.removeBlob(ctx, id)
	}
	return err
}

// errOtherUnit says that a path came to lie in another erasure unit than the
// content for it was sealed for: its directory was made anew, or converted.
var errOtherUnit = errors.New("sealed for another erasure unit")

// again stores what blob id holds, sealed for another unit.
func (p *put) again(ctx context.Context, id efs.ID, info seal.Info) error {
	b, err := p.fs.o.Blobs.Open(ctx, id)
	if err != nil {
		return fmt.Errorf("content %s: %w", id, err)
	}
	defer b.Close()
	r, err := seal.NewReaderAt(b, info.SealedSize, &seal.Open{
		FS: p.fs.o.ID, Content: id, Identities: p.fs.ident, Size: info.SealedSize, PlainSize: info.Size,
	})
	if isForgotten(err) {
		return fmt.Errorf("%w: the directory was forgotten while a file was stored in it: store it again", efs.ErrUnavailable)
	}
	if err != nil {
		return damaged(id, err)
	}
	defer r.Close()
	p.o.Size, p.o.SHA256 = info.Size, info.SHA256[:]
	return p.large(ctx, io.NewSectionReader(r, 0, info.Size))
}

// blob writes the body as blob id, durably.
func (p *put) blob(ctx context.Context, id efs.ID, body io.Reader) (info seal.Info, err error) {
	s, err := p.locate(ctx)
	if err != nil {
		return info, err
	}
	_, u, err := p.begin(ctx, s)
	if err != nil {
		return info, err
	}
	if p.how, err = p.fs.sealing(u, id); err != nil {
		return info, err
	}
	dst, err := p.fs.o.Blobs.Create(ctx, id)
	if err != nil {
		return info, fmt.Errorf("beginning a blob: %w", err)
	}
	writing, span := p.fs.o.Tracer.Step(ctx, "blob.Write") // as long as the body comes
	info, err = p.write(writing, dst, &p.how.Params, body)
	span.EndWith(err)
	if err != nil {
		dst.Abort()
		return info, err
	}
	_, span = p.fs.o.Tracer.Step(ctx, "blob.Commit")
	err = dst.Commit()
	span.EndWith(err)
	if err != nil {
		return info, fmt.Errorf("storing a blob: %w", err)
	}
	return info, nil
}

// write seals body into dst. Size and digest are judged before the trailer is
// written, and the path is looked at once more for what the trailer says.
func (p *put) write(ctx context.Context, dst io.Writer, params *seal.Params, body io.Reader) (info seal.Info, err error) {
	w, err := seal.NewWriter(dst, params)
	if err != nil {
		return info, fmt.Errorf("sealing: %w", err)
	}
	defer w.Abort()
	if _, err := w.ReadFrom(ctxio.NewReader(ctx, body)); err != nil {
		return info, fmt.Errorf("storing the body: %w", err)
	}
	size, sum := w.Sum()
	if err := p.checkSize(size); err != nil {
		return info, err
	}
	if err := p.checkDigest(sum[:]); err != nil {
		return info, err
	}
	s, err := p.locate(ctx)
	if err != nil {
		return info, err
	}
	e := p.entry(s, p.fs.begin(p.o.Who))
	p.file, p.fresh = e.File, s.entry == nil
	if info, err = w.Close(recovery(s.path(), e)); err != nil {
		return info, fmt.Errorf("sealing: %w", err)
	}
	return info, nil
}

// refer commits the entry that refers to blob id. If the path meanwhile
// belongs to another file than the trailer names, a content record says so:
// with one or the other every blob leads to its file.
func (p *put) refer(ctx context.Context, id efs.ID, info seal.Info) error {
	s, err := p.locate(ctx)
	if err != nil {
		return err
	}
	t, u, err := p.begin(ctx, s)
	if err != nil {
		return err
	}
	if u.id() != p.how.unit {
		return errOtherUnit
	}
	e := p.entry(s, t)
	if s.entry == nil && p.fresh {
		e.File = p.file
	}
	p.how.fill(e, info, false)
	if e.File != p.file {
		t.putIn(u, efs.SpaceContents, id[:], content{File: e.File})
	}
	return p.commit(ctx, s, t, e)
}

// removeBlob deletes a blob that nothing refers to, whatever became of ctx.
func (fs *FS) removeBlob(ctx context.Context, id efs.ID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if err := fs.o.Blobs.Remove(ctx, id); err != nil {
		// It stays where new blobs lie, and the next start removes it.
		fs.log.Error("removing a blob that was not stored", "content", id.String(), "error", err)
	}
}

const removeTimeout = 30 * time.Second
