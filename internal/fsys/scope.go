package fsys

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/efs-project/efs"
)

// page is FS.page of what lies in the lister's scope. Where that is a few
// names they are looked up: what else the directory holds, and how much, then
// shows neither in what is listed nor in how long it takes.
func (l *lister) page(ctx context.Context, dir efs.ID, prefix, from string, inclusive bool) ([]*efs.Entry, error) {
	n := l.max - len(l.out)
	if l.scope == nil {
		return l.fs.page(ctx, dir, from, inclusive, n)
	}
	path := strings.Trim(l.base+"/"+prefix, "/")
	names, all := l.scope.Names(path)
	if all {
		return l.fs.page(ctx, dir, from, inclusive, n)
	}
	found, err := l.fs.named(ctx, dir, names)
	if err != nil {
		return nil, err
	}
	page := found[:0]
	for _, e := range found {
		k := sortKey(e.Name, e.Kind)
		if (k > from || inclusive && k == from) && l.scope.Visible(strings.Trim(path+"/"+e.Name, "/"), e.Kind == efs.KindDir) {
			page = append(page, e)
		}
	}
	slices.SortFunc(page, func(a, b *efs.Entry) int {
		return cmp.Compare(sortKey(a.Name, a.Kind), sortKey(b.Name, b.Kind))
	})
	return page[:min(n, len(page))], nil
}

// named returns the entries of those names that exist in a directory, as
// listings have them.
func (fs *FS) named(ctx context.Context, dir efs.ID, names []string) (found []*efs.Entry, err error) {
	in, err := fs.tokensOf(ctx, dir)
	if err != nil {
		return nil, err
	}
	for names := range slices.Chunk(names, scanPage) {
		keys := make([]efs.Key, len(names))
		for i, name := range names {
			k, err := fs.entryKey(in, dir, name)
			if err != nil {
				return nil, err
			}
			keys[i] = efs.Key{Space: efs.SpaceEntries, Bytes: k[:]}
		}
		recs, err := fs.o.Index.Get(ctx, keys...)
		if err != nil {
			return nil, err
		}
		for i := range recs {
			if recs[i].Version == 0 {
				continue
			}
			e, err := fs.openEntry(keys[i].Bytes, recs[i].Sealed)
			if isForgotten(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if e.Name != names[i] {
				return nil, fmt.Errorf("%w: entry of another name", efs.ErrDamaged)
			}
			e.Extents = nil
			found = append(found, e)
		}
	}
	return found, nil
}
