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
func (fs *FS) Move(ctx context.Context, from, to string, o MoveOptions) (PutResult, error) {
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
	err = retry(func() error {
		res, err = fs.move(ctx, src, dst, &o)
		return err
	})
	return res, err
}

func (fs *FS) move(ctx context.Context, src, dst []string, o *MoveOptions) (PutResult, error) {
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
	if err := admitMove(s, d, o.Overwrite); err != nil {
		return PutResult{}, err
	}
	t := fs.begin(o.Who)
	t.pin(s)
	t.pin(d)
	check := -1
	if d.entry != nil {
		check = t.remove(d, false)
	}
	e := *s.entry
	e.Name = d.name()
	key := t.parents(d)
	t.unlist(s)
	t.rewrite(s.entry, s.key[:], s.version)
	id := e.File
	if e.Kind == efs.KindDir {
		t.hang(key, key.dir(), &e)
	} else {
		t.put(efs.SpaceEntries, key[:], &e)
		t.put(efs.SpaceFiles, id[:], key[:])
	}
	t.change(&efs.Change{Op: efs.OpMove, Path: d.path(), From: s.path(), Dir: key.dir(), Before: s.entry, After: &e})
	c, err := t.commit(ctx)
	if err != nil {
		return PutResult{}, notEmpty(err, check, d.path())
	}
	if e.Kind == efs.KindDir {
		fs.paths.Drop(s.path())
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
