package fsys

import (
	"cmp"
	"context"
	"slices"

	"github.com/efs-project/efs"
)

// Walk calls fn for what lies at path, unless that is the root, and for all
// that is below it: depth first, a directory before what is in it, in the order
// of listings, which is that of the bytes of the paths with directories as
// "name/". Paths are those from the root, without slashes around them. What was
// forgotten is left out. An error of fn ends it.
//
// It holds the entries of the directories on the way to where it is, of large
// directories a page.
func (v *View) Walk(ctx context.Context, path string, fn func(path string, e *efs.Entry) error) error {
	segs, err := ParsePath(path)
	if err != nil {
		return err
	}
	if err := v.usable(); err != nil {
		return err
	}
	if len(segs) == 0 {
		return v.walkDir(ctx, v.past.o.ID, "", fn)
	}
	s, err := v.past.found(ctx, segs)
	if err != nil {
		return err
	}
	return v.visit(ctx, s.path(), s.entry, fn)
}

func (v *View) visit(ctx context.Context, path string, e *efs.Entry, fn func(string, *efs.Entry) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := fn(path, e); err != nil || e.Kind != efs.KindDir {
		return err
	}
	return v.walkDir(ctx, e.File, path+"/", fn)
}

func (v *View) walkDir(ctx context.Context, dir efs.ID, prefix string, fn func(string, *efs.Entry) error) error {
	if err := v.usable(); err != nil {
		return err
	}
	root, _, err := v.past.namesRoot(ctx, dir)
	if err == nil && root != nil && !root.Building {
		return v.walkLarge(ctx, dir, prefix, fn)
	}
	all, err := v.entriesOf(ctx, dir)
	if err != nil {
		return err
	}
	for i, e := range all {
		all[i] = nil
		if err := v.visit(ctx, prefix+e.Name, e, fn); err != nil {
			return err
		}
	}
	return nil
}

// entriesOf reads a directory whole, in order.
func (v *View) entriesOf(ctx context.Context, dir efs.ID) (all []*efs.Entry, err error) {
	err = v.past.scan(ctx, efs.SpaceEntries, dir[:], scanPage, func(r *efs.Record) error {
		e, err := v.past.openOwnEntry(r.Key, r.Sealed)
		if isForgotten(err) {
			return nil
		}
		all = append(all, e)
		return err
	})
	slices.SortFunc(all, func(a, b *efs.Entry) int {
		return cmp.Compare(sortKey(a.Name, a.Kind), sortKey(b.Name, b.Kind))
	})
	return all, err
}

// walkLarge goes by a directory's sorted names, a page at a time.
func (v *View) walkLarge(ctx context.Context, dir efs.ID, prefix string, fn func(string, *efs.Entry) error) error {
	in, err := v.past.tokensOf(ctx, dir)
	if isForgotten(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for from := ""; ; {
		page, err := v.past.page(ctx, dir, from, false, scanPage)
		if err != nil || len(page) == 0 {
			return err
		}
		last := page[len(page)-1]
		from = sortKey(last.Name, last.Kind)
		whole, err := v.whole(ctx, in, dir, page)
		if err != nil {
			return err
		}
		for _, e := range whole {
			if err := v.visit(ctx, prefix+e.Name, e, fn); err != nil {
				return err
			}
		}
	}
}

// whole returns the entries of which a listing has told.
func (v *View) whole(ctx context.Context, in tokens, dir efs.ID, page []*efs.Entry) ([]*efs.Entry, error) {
	keys := make([]efs.Key, len(page))
	for i, e := range page {
		k, err := v.past.entryKey(in, dir, e.Name)
		if err != nil {
			return nil, err
		}
		keys[i] = efs.Key{Space: efs.SpaceEntries, Bytes: slices.Clone(k[:])}
	}
	recs, err := v.at.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	whole := make([]*efs.Entry, 0, len(recs))
	for _, r := range recs {
		if r.Version == 0 {
			continue // a name that fsck would report
		}
		e, err := v.past.openOwnEntry(r.Key, r.Sealed)
		if isForgotten(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		whole = append(whole, e)
	}
	return whole, nil
}

// Contents calls fn for every content that entries refer to, in no order, with
// the length of its sealed file in bytes. What was forgotten is left out.
func (v *View) Contents(ctx context.Context, fn func(id efs.ID, inline bool, sealed int64) error) error {
	if err := v.usable(); err != nil {
		return err
	}
	return v.past.scan(ctx, efs.SpaceEntries, nil, scanPage, func(r *efs.Record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := v.past.openOwnEntry(r.Key, r.Sealed)
		if isForgotten(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, x := range e.Extents {
			if err := fn(x.Content, x.Inline, x.Sealed); err != nil {
				return err
			}
		}
		return nil
	})
}
