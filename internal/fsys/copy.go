package fsys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/efs-project/efs"
)

// Copy stores what is at from, sealed anew, at to. A directory is copied with
// all below it, file by file: what is below may change meanwhile, and what was
// copied before an error stays.
//
// efs.ErrExists where there is something at to, unless o.Overwrite: then files
// are replaced, and directories are added to. Type, metadata and times are
// kept; the copy has an id, a version and an ETag of its own.
func (fs *FS) Copy(ctx context.Context, from, to string, o CopyOptions) (_ PutResult, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.Copy")
	defer func() { span.EndWith(err) }()
	src, err := ParsePath(from)
	if err != nil {
		return PutResult{}, err
	}
	dst, err := parseEntry(to)
	if err != nil {
		return PutResult{}, err
	}
	if slices.Equal(src, dst) {
		return PutResult{}, fmt.Errorf("%w: source and destination are the same", efs.ErrBadInput)
	}
	e, err := fs.Stat(ctx, from)
	if err != nil {
		return PutResult{}, err
	}
	if err := o.Cond.check(&e); err != nil {
		return PutResult{}, err
	}
	if e.Kind != efs.KindDir {
		return fs.copyLeaf(ctx, src, dst, &o)
	}
	o.Cond = Cond{} // met, and about this directory alone
	return fs.copyTree(ctx, src, dst, e, &o)
}

// copyLeaf copies what is no directory.
func (fs *FS) copyLeaf(ctx context.Context, src, dst []string, o *CopyOptions) (PutResult, error) {
	res, err := fs.copyFile(ctx, src, dst, o)
	if errors.Is(err, efs.ErrSymlink) {
		return fs.copySymlink(ctx, src, dst, o)
	}
	return res, err
}

func (fs *FS) copyFile(ctx context.Context, src, dst []string, o *CopyOptions) (PutResult, error) {
	f, err := fs.openPath(ctx, join(src), nil)
	if err != nil {
		return PutResult{}, err
	}
	defer f.Close()
	if err := o.Cond.check(&f.entry); err != nil {
		return PutResult{}, err
	}
	e := &f.entry
	p := &put{fs: fs, segs: dst, create: !o.Overwrite, o: PutOptions{
		Who: o.Who, Cond: o.Target, Type: e.Type, Meta: e.Meta, Size: e.Size,
		Modified: time.UnixMicro(e.Modified), Mode: e.Mode,
	}}
	if e.DigestKind == efs.DigestFull {
		p.o.SHA256 = e.Digest
	}
	res, err := p.run(ctx, io.NewSectionReader(f, 0, e.Size))
	if errors.Is(err, efs.ErrDigest) {
		err = fmt.Errorf("%w: file %s does not have its own digest", efs.ErrDamaged, e.File)
	}
	return res, err
}

// copyTree copies the directory e at src.
func (fs *FS) copyTree(ctx context.Context, src, dst []string, e efs.Entry, o *CopyOptions) (PutResult, error) {
	d, err := fs.locate(ctx, dst)
	if err != nil {
		return PutResult{}, err
	}
	inside := e.File == fs.o.ID
	for _, dir := range d.chain {
		inside = inside || dir.id == e.File
	}
	if inside {
		return PutResult{}, fmt.Errorf("%w: '%s' lies in what is to be copied", efs.ErrBadInput, join(dst))
	}
	if err := o.Target.check(d.entry); err != nil {
		return PutResult{}, err
	}
	o.Target = Cond{} // met, and about this directory alone
	top, created, err := fs.copyDir(ctx, dst, e, o)
	if err != nil {
		return PutResult{}, err
	}
	if err := fs.copyBelow(ctx, src, dst, top.File, o); err != nil {
		return PutResult{}, err
	}
	h, err := fs.o.Index.Head(ctx)
	return PutResult{Entry: top, Created: created, Seq: h.Seq}, err
}

// copyBelow copies what is below src, page by page, but not the copy itself.
func (fs *FS) copyBelow(ctx context.Context, src, dst []string, top efs.ID, o *CopyOptions) error {
	list := ListOptions{Recursive: true}
	for {
		page, next, err := fs.List(ctx, join(src), list)
		if err != nil {
			return err
		}
		for i := range page {
			if page[i].File == top {
				return fmt.Errorf("%w: '%s' was moved into what is being copied", efs.ErrConflict, join(dst))
			}
			o.goingOn(page[i].Size)
			if err := fs.copyOne(ctx, src, dst, &page[i], o); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		list.After = next
	}
}

func (fs *FS) copyOne(ctx context.Context, src, dst []string, e *ListEntry, o *CopyOptions) error {
	rel, err := ParsePath(e.Path)
	if err != nil {
		return err
	}
	from := append(src[:len(src):len(src)], rel...)
	to := append(dst[:len(dst):len(dst)], rel...)
	if e.Kind == efs.KindDir {
		_, _, err = fs.copyDir(ctx, to, e.Entry, o)
	} else {
		_, err = fs.copyLeaf(ctx, from, to, o)
	}
	if errors.Is(err, efs.ErrNotFound) {
		return nil // deleted meanwhile
	}
	return err
}

// copyDir makes a directory like e at dst, or takes the one that is there.
func (fs *FS) copyDir(ctx context.Context, dst []string, e efs.Entry, o *CopyOptions) (made efs.Entry, created bool, err error) {
	path := join(dst)
	made, err = fs.Mkdir(ctx, path, MkdirOptions{Who: o.Who, Parents: true, Meta: e.Meta, Mode: e.Mode, Modified: time.UnixMicro(e.Modified)})
	if err == nil {
		return made, true, nil
	}
	if !errors.Is(err, efs.ErrExists) || !o.Overwrite {
		return made, false, err
	}
	made, err = fs.Stat(ctx, path)
	if err == nil && made.Kind != efs.KindDir {
		err = fmt.Errorf("%w: '%s'", efs.ErrNotDir, path)
	}
	return made, false, err
}
