package fsys

import (
	"context"
	"fmt"
	"strings"

	"github.com/efs-project/efs"
)

// mayForget judges whether what is at s can be forgotten: it is the directory
// of a unit, or everything below it is in units.
func (fs *FS) mayForget(ctx context.Context, s *spot) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: '%s' cannot be forgotten: "+format, append([]any{efs.ErrBadInput, s.path()}, args...)...)
	}
	switch {
	case s.unit != nil:
		return refuse("it lies in an erasure unit, which is forgotten whole or not at all: forget the unit's directory, or delete this alone")
	case s.entry.Kind != efs.KindDir:
		return refuse("it is a file in no erasure unit, and its key is that of others too: delete it, or move it into a unit")
	case s.of != nil:
		return fs.convertForgotten(ctx, s.of)
	}
	units := 0
	path, err := fs.outside(ctx, s.entry.File, s.path(), &units)
	switch {
	case err != nil:
		return err
	case path != "":
		return refuse("'%s' lies in no erasure unit: move it away or delete it first", path)
	case units == 0:
		return refuse("it is no erasure unit and there is none in it; the policy says which directories are: '%s'", fs.Policy().ErasureUnit)
	case units > maxForget:
		return refuse("%d erasure units lie in it, at most %d can be forgotten at once: forget them one after the other", units, maxForget)
	}
	return nil
}

// outside returns the path of a file below a directory, itself in no unit, that
// lies in no unit either; "" if there is none. It counts the units.
func (fs *FS) outside(ctx context.Context, dir efs.ID, at string, units *int) (path string, err error) {
	err = fs.scan(ctx, efs.SpaceEntries, dir[:], scanPage, func(r *efs.Record) error {
		if path != "" {
			return nil
		}
		e, u, err := fs.openUnitEntry(r.Key, r.Sealed)
		switch {
		case isForgotten(err):
		case err != nil:
			return err
		case u != nil:
			*units++
			return fs.convertForgotten(ctx, u)
		case e.Kind == efs.KindDir:
			path, err = fs.outside(ctx, e.File, at+"/"+e.Name, units)
			return err
		default:
			path = at + "/" + e.Name
		}
		return nil
	})
	return path, err
}

// deletedUnits returns the units whose directories were at path or below it
// when they were deleted.
func (fs *FS) deletedUnits(ctx context.Context, path string) (ids []efs.ID, err error) {
	err = fs.scan(ctx, efs.SpaceMeta, []byte{metaUnit}, scanPage, func(r *efs.Record) error {
		var rec unitRecord
		err := fs.open(efs.SpaceMeta, r.Key, r.Sealed, &rec)
		if isForgotten(err) {
			return nil
		}
		if err == nil && rec.Removed != 0 && (rec.Path == path || strings.HasPrefix(rec.Path, path+"/")) {
			ids = append(ids, efs.ID(r.Key[1:]))
		}
		return err
	})
	return ids, err
}
