package salvage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/efs-project/efs"
)

const scanPage = 1024 // records read at a time

// named is an entry of a directory: enough to put it in order.
type named struct {
	name string
	kind efs.Kind
	key  []byte
}

// order is that of listings: bytes of names, a directory's with a slash.
func (n named) order() string {
	if n.kind == efs.KindDir {
		return n.name + "/"
	}
	return n.name
}

// tree emits what the records tell of, at or below root.
func (j *job) tree(ctx context.Context, root string) error {
	if root == "" {
		return j.dir(ctx, j.keys.ID, "", "", nil)
	}
	dir, shown := j.keys.ID, ""
	segs := strings.Split(root, "/")
	for i, seg := range segs {
		e, err := j.lookup(ctx, dir, seg)
		if err != nil {
			return err
		}
		shown = strings.TrimPrefix(shown+"/"+seg, "/")
		if e == nil {
			if !j.state.whole && (j.o.Orphans || j.o.Checkpoint == "") {
				j.note("%s knows nothing of /%s", j.state.what, shown)
				return nil
			}
			return fmt.Errorf("%w: /%s", efs.ErrNotFound, shown)
		}
		if e.Kind != efs.KindDir {
			if i < len(segs)-1 {
				return fmt.Errorf("%w: /%s", efs.ErrNotDir, shown)
			}
			return j.emit(ctx, seg, shown, e)
		}
		dir = e.File
	}
	return j.dir(ctx, dir, "", shown+"/", []efs.ID{dir})
}

// lookup finds a name in a directory by reading all of it: tokens say nothing
// of what they stand for, and records may be damaged.
func (j *job) lookup(ctx context.Context, dir efs.ID, name string) (found *efs.Entry, err error) {
	err = j.each(ctx, dir, func(_ []byte, e *efs.Entry, err error) error {
		if err == nil && e.Name == name {
			found = e
		}
		return nil
	})
	return found, err
}

// each calls fn with each entry of a directory, or the error of opening it.
func (j *job) each(ctx context.Context, dir efs.ID, fn func(key []byte, e *efs.Entry, err error) error) error {
	return j.scanEntries(ctx, dir[:], func(rec *efs.Record) error {
		e, err := j.entry(rec.Key, rec.Sealed)
		return fn(rec.Key, e, err)
	})
}

// scanEntries calls fn with each record of an entry whose key begins with
// prefix.
func (j *job) scanEntries(ctx context.Context, prefix []byte, fn func(*efs.Record) error) error {
	var after []byte
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		recs, err := j.records.Scan(ctx, efs.SpaceEntries, prefix, after, scanPage)
		if err != nil {
			return err
		}
		for i := range recs {
			if err := fn(&recs[i]); err != nil {
				return err
			}
		}
		if len(recs) < scanPage {
			return nil
		}
		after = recs[len(recs)-1].Key
	}
}

// dir emits what is in a directory. above are the directories on the way to
// it: records that were put together by somebody may lead in a circle.
func (j *job) dir(ctx context.Context, dir efs.ID, prefix, shown string, above []efs.ID) error {
	if j.seen != nil {
		j.seen[dir] = true
	}
	all, err := j.names(ctx, dir, shown)
	if errors.Is(err, efs.ErrDamaged) {
		j.missing(Missing{Path: shown, Why: "the index is damaged here: " + err.Error()})
		err = nil
	}
	if err != nil {
		return err
	}
	for i, n := range all {
		all[i] = named{} // not needed while what is below it is read
		recs, err := j.records.Get(ctx, efs.Key{Space: efs.SpaceEntries, Bytes: n.key})
		if err != nil {
			return err
		}
		e, err := j.entry(n.key, recs[0].Sealed)
		if err != nil {
			return err // it opened before
		}
		if err := j.visit(ctx, prefix+n.name, shown+n.name, e, above); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) visit(ctx context.Context, name, shown string, e *efs.Entry, above []efs.ID) error {
	if e.Kind == efs.KindDir && slices.Contains(above, e.File) {
		j.missing(Missing{Path: shown, Why: "the directory lies in itself"})
		return nil
	}
	if err := j.emit(ctx, name, shown, e); err != nil || e.Kind != efs.KindDir {
		return err
	}
	return j.dir(ctx, e.File, name+"/", shown+"/", append(above, e.File))
}

// names returns the entries of a directory that open, in order.
func (j *job) names(ctx context.Context, dir efs.ID, shown string) (all []named, err error) {
	damaged := 0
	err = j.each(ctx, dir, func(key []byte, e *efs.Entry, err error) error {
		switch {
		case errors.Is(err, efs.ErrForgotten):
			j.rep.Forgotten++
		case err != nil:
			damaged++
			if damaged == 1 {
				j.missing(Missing{Path: shown, Why: "an entry in this directory does not open: " + err.Error()})
			}
		default:
			all = append(all, named{e.Name, e.Kind, key})
		}
		return nil
	})
	if damaged > 1 {
		j.missing(Missing{Path: shown, Why: fmt.Sprintf("%d entries in this directory do not open", damaged)})
	}
	slices.SortFunc(all, func(a, b named) int { return cmp.Compare(a.order(), b.order()) })
	return all, err
}
