package fsys

import (
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
)

// Mkdir makes a directory. efs.ErrExists if there is anything at path,
// efs.ErrNotFound if a parent is missing and o.Parents is not set.
func (fs *FS) Mkdir(ctx context.Context, path string, o MkdirOptions) (e efs.Entry, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.Mkdir")
	defer func() { span.EndWith(err) }()
	segs, err := ParsePath(path)
	if err != nil {
		return efs.Entry{}, err
	}
	if len(segs) == 0 {
		return efs.Entry{}, fmt.Errorf("%w: the root", efs.ErrExists)
	}
	if err := checkAttributes("", o.Meta, o.Mode); err != nil {
		return efs.Entry{}, err
	}
	var made *efs.Entry
	m := &unitMaker{fs: fs}
	err = retry(func() error {
		s, err := fs.locate(ctx, segs)
		if err != nil {
			return err
		}
		if s.entry != nil {
			return fmt.Errorf("%w: '%s'", efs.ErrExists, s.path())
		}
		if len(s.missing) > 1 && !o.Parents {
			return fmt.Errorf("%w: parent directory of '%s'", efs.ErrNotFound, s.path())
		}
		t := fs.begin(o.Who)
		t.maker = m
		t.pin(s)
		key := t.parents(ctx, s)
		made = t.newDir(s.name())
		made.Meta, made.Mode = o.Meta, o.Mode
		if !o.Modified.IsZero() {
			made.Modified = o.Modified.UnixMicro()
		}
		t.makeDir(ctx, key, made, s.segs)
		_, err = t.commit(ctx)
		return err
	})
	m.end(ctx)
	if err != nil {
		return efs.Entry{}, err
	}
	return *made, nil
}

// Remove deletes the file or directory at path. A directory must be empty
// (else efs.ErrNotEmpty), or o.Recursive set: then it is detached at once, and
// what is in it is deleted in the background.
func (fs *FS) Remove(ctx context.Context, path string, o RemoveOptions) (err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.Remove")
	defer func() { span.EndWith(err) }()
	segs, err := parseEntry(path)
	if err != nil {
		return err
	}
	return retry(func() error {
		s, err := fs.found(ctx, segs)
		if err != nil {
			return err
		}
		if err := o.Cond.check(s.entry); err != nil {
			return err
		}
		t := fs.begin(o.Who)
		t.pin(s)
		t.unlist(s)
		check := t.remove(ctx, s, o.Recursive)
		_, err = t.commit(ctx)
		return notEmpty(err, check, s.path())
	})
}

// remove deletes what is at s, but for its entry. For a directory that must be
// empty it returns the number of the check that says so, else -1.
func (t *txn) remove(ctx context.Context, s *spot, recursive bool) (check int) {
	e := s.entry
	op := efs.OpDelete
	check = -1
	id := e.File
	switch {
	case e.Kind != efs.KindDir:
		t.delete(efs.SpaceFiles, id[:])
		t.drop(e, s.key[:], s.version)
	case recursive:
		op = efs.OpDeleteTree
		t.delete(efs.SpacePlaces, id[:])
		d := detached{Dir: id}
		if s.unitOf() == nil {
			d.Path = s.path()
		}
		t.put(efs.SpaceMeta, detachedKey(id), d)
	default:
		check = t.none(efs.SpaceEntries, id[:])
		t.delete(efs.SpacePlaces, id[:])
		t.emptied = append(t.emptied, id)
	}
	if s.unit == nil && s.of != nil {
		t.rename(ctx, s.of, s.path(), t.now)
	}
	t.changeIn(s.unitOf(), &efs.Change{Op: op, Path: s.path(), Dir: s.key.dir(), Before: e})
	return check
}

// notEmpty turns the failure of the check for an empty directory into what it
// means.
func notEmpty(err error, check int, path string) error {
	var failed *efs.CheckError
	if check >= 0 && errors.As(err, &failed) && failed.Check == check {
		return fmt.Errorf("%w: '%s'", efs.ErrNotEmpty, path)
	}
	return err
}
