package fsys

import (
	"context"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
)

// Move gives the file or directory at from the path to, in one transaction.
// Its id, version and ETag stay. Missing parents of to are made.
//
// efs.ErrExists if there is something at to, unless o.Overwrite: then a file
// replaces a file and a directory an empty directory (efs.ErrNotEmpty).
// efs.ErrBadInput if to is from or lies below it.
func (fs *FS) Move(ctx context.Context, from, to string, o MoveOptions) (_ PutResult, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.Move")
	defer func() { span.EndWith(err) }()
	src, err := parseEntry(from)
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
	var res PutResult
	m := &unitMaker{fs: fs}
	defer m.end(ctx)
	err = retry(func() error {
		res, err = fs.move(ctx, src, dst, &o, m)
		return err
	})
	return res, err
}

func (fs *FS) move(ctx context.Context, src, dst []string, o *MoveOptions, m *unitMaker) (PutResult, error) {
	s, err := fs.found(ctx, src)
	if err != nil {
		return PutResult{}, err
	}
	if err := o.Cond.check(s.entry); err != nil {
		return PutResult{}, err
	}
	d, err := fs.locate(ctx, dst)
	if err != nil {
		return PutResult{}, err
	}
	if err := o.Target.check(d.entry); err != nil {
		return PutResult{}, err
	}
	if err := admitMove(s, d, o.Overwrite); err != nil {
		return PutResult{}, err
	}
	t := fs.begin(o.Who)
	t.maker = m
	if s.entry.Kind == efs.KindDir {
		if err := t.mayMoveDir(s, d); err != nil {
			return PutResult{}, err
		}
		return t.move(ctx, s, d, nil)
	}
	u, err := t.home(ctx, d)
	if err != nil {
		return PutResult{}, err
	}
	var anew *resealed
	if u.id() != s.unit.id() && s.entry.Kind == efs.KindFile {
		if anew, err = fs.reseal(ctx, s.entry, u, d.path()); err != nil {
			return PutResult{}, err
		}
	}
	res, err := t.move(ctx, s, d, anew)
	anew.end(ctx, err)
	return res, err
}

// move gives what is at s the path of d, and the contents that were sealed
// anew for it, if any.
func (t *txn) move(ctx context.Context, s, d *spot, anew *resealed) (PutResult, error) {
	t.pin(s)
	t.pin(d)
	check := -1
	if d.entry != nil {
		check = t.remove(ctx, d, false)
	}
	e := *s.entry
	e.Name = d.name()
	key := t.parents(ctx, d)
	t.unlist(s)
	t.rewrite(s.entry, s.key[:], s.version)
	if e.Kind == efs.KindDir {
		t.moveDir(ctx, s, d, key, &e)
	} else {
		t.moveFile(s, d, key, &e, anew)
	}
	c, err := t.commit(ctx)
	if err != nil {
		return PutResult{}, notEmpty(err, check, d.path())
	}
	if e.Kind == efs.KindDir {
		t.fs.paths.Drop(s.path())
	}
	if t.wants {
		t.fs.report("beginning to make erasure units", t.fs.wantUnits(context.WithoutCancel(ctx)))
	}
	return PutResult{Entry: e, Created: d.entry == nil, Seq: c.Seq}, nil
}

// admitMove judges whether what is at s may go to d. That d is not below s is
// seen from the directories above d; the transaction pins them, so that it
// still holds when it commits.
func admitMove(s, d *spot, overwrite bool) error {
	for _, dir := range d.chain {
		if dir.id == s.entry.File {
			return fmt.Errorf("%w: '%s' lies below '%s'", efs.ErrBadInput, d.path(), s.path())
		}
	}
	if d.entry == nil {
		return nil
	}
	if !overwrite {
		return fmt.Errorf("%w: '%s'", efs.ErrExists, d.path())
	}
	srcDir, dstDir := s.entry.Kind == efs.KindDir, d.entry.Kind == efs.KindDir
	if dstDir && !srcDir {
		return fmt.Errorf("%w: '%s'", efs.ErrIsDir, d.path())
	}
	if srcDir && !dstDir {
		return fmt.Errorf("%w: '%s'", efs.ErrNotDir, d.path())
	}
	return nil
}
