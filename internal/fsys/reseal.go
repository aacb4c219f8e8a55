package fsys

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/ctxio"
	"github.com/efs-project/efs/seal"
)

// resealed is the contents of a file, sealed anew as one content that nothing
// refers to yet.
type resealed struct {
	fs     *FS
	extent efs.Extent
	inline []byte // the sealed file, where it is inline
}

// reseal seals the contents of e anew, under the present policy and for a unit.
// path is what the trailer is to tell. Plaintext is in memory only, a segment
// at a time. efs.ErrConflict if the contents are gone: the file was replaced.
func (fs *FS) reseal(ctx context.Context, e *efs.Entry, u *unit, path string) (*resealed, error) {
	f, err := fs.openFile(ctx, e)
	if errors.Is(err, efs.ErrNotFound) {
		return nil, fmt.Errorf("file %s: %w", e.File, efs.ErrConflict)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	inline := e.Size <= int64(fs.policy.Load().InlineLimit)
	id := efs.NewID()
	if inline {
		id = efs.NewTimeID()
	}
	how, err := fs.sealing(u, id)
	if err != nil {
		return nil, err
	}
	r := &resealed{fs: fs}
	var info seal.Info
	if inline {
		info, err = r.small(f, how, recovery(path, e))
	} else {
		info, err = r.large(ctx, f, how, recovery(path, e))
	}
	if err != nil {
		return nil, fmt.Errorf("sealing file %s anew: %w", e.File, err)
	}
	r.extent = how.extent(info, inline)
	return r, nil
}

func (r *resealed) small(f *File, how *sealing, rec seal.Recovery) (seal.Info, error) {
	buf := getBuffer(int(f.Size()))
	defer putBuffer(buf)
	plain := (*buf)[:f.Size()]
	if _, err := f.ReadAt(plain, 0); err != nil && err != io.EOF {
		return seal.Info{}, err
	}
	var info seal.Info
	var err error
	r.inline, info, err = seal.SealBytes(nil, plain, &how.Params, rec)
	return info, err
}

func (r *resealed) large(ctx context.Context, f *File, how *sealing, rec seal.Recovery) (info seal.Info, err error) {
	r.fs.contents.begin(how.Content)
	dst, err := r.fs.o.Blobs.Create(ctx, how.Content)
	if err == nil {
		if info, err = sealFile(ctx, dst, f, how, rec); err != nil {
			dst.Abort()
		} else {
			err = dst.Commit()
		}
	}
	if err != nil {
		r.fs.contents.end(how.Content)
	}
	return info, err
}

// sealFile seals all of f into dst. What is sealed is what the entry means: the
// digest of it is compared before the trailer is written.
func sealFile(ctx context.Context, dst io.Writer, f *File, how *sealing, rec seal.Recovery) (info seal.Info, err error) {
	w, err := seal.NewWriter(dst, &how.Params)
	if err != nil {
		return info, err
	}
	defer w.Abort()
	if _, err := w.ReadFrom(ctxio.NewReader(ctx, io.NewSectionReader(f, 0, f.Size()))); err != nil {
		return info, err
	}
	size, sum := w.Sum()
	if size != f.Size() || f.entry.DigestKind == efs.DigestFull && string(sum[:]) != string(f.entry.Digest) {
		return info, fmt.Errorf("%w: it does not have its own digest", efs.ErrDamaged)
	}
	return w.Close(rec)
}

// replace makes e refer to the new content, in the transaction.
func (r *resealed) replace(t *txn, e *efs.Entry) {
	for _, x := range e.Extents {
		t.t.Release = append(t.t.Release, efs.Release{Content: x.Content, Inline: x.Inline})
	}
	e.Extents = []efs.Extent{r.extent}
	t.epoch = r.extent.Epoch
	if r.inline != nil {
		id := r.extent.Content
		t.raw(efs.SpaceInline, id[:], r.inline)
	}
}

// end is called after the transaction, with its error: what it does not refer
// to is removed, unless that is unknown.
func (r *resealed) end(ctx context.Context, err error) {
	if r == nil || r.inline != nil {
		return
	}
	id := r.extent.Content
	switch {
	case err == nil:
		r.fs.work.settleLater(id)
	case errors.Is(err, efs.ErrStopped):
		// The index may have it. The next start finds out.
	default:
		r.fs.removeBlob(ctx, id)
	}
	r.fs.contents.end(id)
}
