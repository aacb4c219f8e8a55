package fsys

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/efs-project/efs"
)

// Symlink stores a symbolic link at path, in place of a file or symlink that
// was there, and returns when that is durable. Missing parents are made in the
// same transaction. The target is kept as it is given, up to efs.MaxTarget
// bytes of UTF-8, and never followed: it means something to whoever restores
// the link. Of o, Type, SHA256 and Size do not apply.
//
// A symlink has an id, a version, an ETag, a time, a mode and metadata as a file
// has, counts as one of no bytes, and has no contents: Open returns
// efs.ErrSymlink. Errors are those of Put.
func (fs *FS) Symlink(ctx context.Context, path, target string, o PutOptions) (_ PutResult, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.Symlink")
	defer func() { span.EndWith(err) }()
	segs, err := parseFile(path)
	if err != nil {
		return PutResult{}, err
	}
	o.Type = ""
	if err := checkAttributes("", o.Meta, o.Mode); err != nil {
		return PutResult{}, err
	}
	if err := CheckTarget(target); err != nil {
		return PutResult{}, err
	}
	return fs.link(ctx, &put{fs: fs, segs: segs, o: o}, target)
}

// CheckTarget returns efs.ErrBadInput unless target can be that of a symlink.
func CheckTarget(target string) error {
	if target == "" || len(target) > efs.MaxTarget || !utf8.ValidString(target) || strings.ContainsRune(target, 0) {
		return fmt.Errorf("%w: the target of a symlink has 1 to %d bytes of UTF-8 without NUL", efs.ErrBadInput, efs.MaxTarget)
	}
	return nil
}

// link commits the symlink that p stands for.
func (fs *FS) link(ctx context.Context, p *put, target string) (PutResult, error) {
	p.units.fs = fs
	defer func() { p.units.end(ctx) }()
	err := retry(func() error {
		s, err := p.locate(ctx)
		if err != nil {
			return err
		}
		t, _, err := p.begin(ctx, s)
		if err != nil {
			return err
		}
		e := p.entry(s, t)
		e.Kind, e.Target = efs.KindSymlink, target
		return p.commit(ctx, s, t, e)
	})
	return p.res, err
}

// copySymlink makes a symlink like that at src at dst.
func (fs *FS) copySymlink(ctx context.Context, src, dst []string, o *CopyOptions) (PutResult, error) {
	s, err := fs.found(ctx, src)
	if err != nil {
		return PutResult{}, err
	}
	e := s.entry
	if e.Kind != efs.KindSymlink {
		return PutResult{}, fmt.Errorf("%w: '%s'", efs.ErrConflict, s.path())
	}
	if err := o.Cond.check(e); err != nil {
		return PutResult{}, err
	}
	return fs.link(ctx, &put{fs: fs, segs: dst, create: !o.Overwrite, o: PutOptions{
		Who: o.Who, Cond: o.Target, Meta: e.Meta, Modified: time.UnixMicro(e.Modified), Mode: e.Mode,
	}}, e.Target)
}
