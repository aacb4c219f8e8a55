package fsys

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/efs-project/efs"
)

// List returns a page of what is in dir, or with o.Recursive of all below it,
// in the order of the bytes of the paths, directories as "name/". next is what
// to pass as After for the page that follows, "" after the last.
//
// What is created or deleted while pages are read may or may not be listed;
// what exists all the time is listed once. What o.Scope leaves out is neither
// listed nor looked at nor told by next.
func (fs *FS) List(ctx context.Context, dir string, o ListOptions) (entries []ListEntry, next string, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.List")
	defer func() { span.EndWith(err) }()
	if o.Limit < 0 || o.Limit > MaxListLimit {
		return nil, "", fmt.Errorf("%w: limit %d, 1 to %d are allowed", efs.ErrBadInput, o.Limit, MaxListLimit)
	}
	if o.Limit == 0 {
		o.Limit = DefaultListLimit
	}
	id, err := fs.directory(ctx, dir)
	if err != nil {
		return nil, "", err
	}
	l := &lister{fs: fs, max: o.Limit + 1, recursive: o.Recursive, scope: o.Scope, base: strings.Trim(dir, "/")}
	if err := l.walk(ctx, id, "", o.After); err != nil {
		return nil, "", err
	}
	if len(l.out) > o.Limit {
		l.out = l.out[:o.Limit]
		next = sortKey(l.out[o.Limit-1].Path, l.out[o.Limit-1].Kind)
	}
	return l.out, next, nil
}

// directory returns the id of the directory at path.
func (fs *FS) directory(ctx context.Context, path string) (efs.ID, error) {
	segs, err := ParsePath(path)
	if err != nil {
		return efs.ID{}, err
	}
	if len(segs) == 0 {
		return fs.o.ID, fs.ready()
	}
	s, err := fs.found(ctx, segs)
	if err != nil {
		return efs.ID{}, err
	}
	if s.entry.Kind != efs.KindDir {
		return efs.ID{}, fmt.Errorf("%w: '%s'", efs.ErrNotDir, s.path())
	}
	return s.entry.File, nil
}

// sortKey is what an entry is ordered by.
func sortKey(name string, kind efs.Kind) string {
	if kind == efs.KindDir {
		return name + "/"
	}
	return name
}

// lister collects up to max entries in order.
type lister struct {
	fs        *FS
	max       int
	recursive bool
	scope     Scope
	base      string // path of the directory that is listed
	out       []ListEntry
}

// walk collects from a directory whose path in the listing is prefix (with a
// slash, or empty) what sorts after after, which is relative to it.
func (l *lister) walk(ctx context.Context, dir efs.ID, prefix, after string) error {
	from, inclusive := after, false
	if i := strings.IndexByte(after, '/'); l.recursive && i >= 0 {
		from, inclusive = after[:i+1], true // the directory in which after lies is gone into again
	}
	for {
		page, err := l.page(ctx, dir, prefix, from, inclusive)
		if err != nil {
			return err
		}
		for _, e := range page {
			if err := l.take(ctx, prefix, after, e); err != nil || len(l.out) == l.max {
				return err
			}
		}
		if len(page) == 0 {
			return nil
		}
		last := page[len(page)-1]
		from, inclusive = sortKey(last.Name, last.Kind), false
	}
}

// take adds e, and what is below it.
func (l *lister) take(ctx context.Context, prefix, after string, e *efs.Entry) error {
	key := sortKey(e.Name, e.Kind)
	if key > after {
		l.out = append(l.out, ListEntry{Path: prefix + e.Name, Entry: *e})
	}
	if !l.recursive || e.Kind != efs.KindDir || len(l.out) == l.max {
		return nil
	}
	rest, inside := strings.CutPrefix(after, key)
	if !inside {
		rest = ""
	}
	return l.walk(ctx, e.File, prefix+key, rest)
}

// scanPage is how many records are read at a time.
const scanPage = 1000

// page returns the first n entries of a directory whose sort keys follow from,
// in order, as listings have them.
func (fs *FS) page(ctx context.Context, dir efs.ID, from string, inclusive bool, n int) ([]*efs.Entry, error) {
	page, ok, err := fs.namesPage(ctx, dir, from, inclusive, n)
	if ok || err != nil {
		return page, err
	}
	return fs.entriesPage(ctx, dir, from, inclusive, n)
}

// entriesPage is page by the entries. It reads the whole directory, as tokens
// have no order, but holds no more than 2n entries. Of a large directory it
// asks that its names be kept from now on.
func (fs *FS) entriesPage(ctx context.Context, dir efs.ID, from string, inclusive bool, n int) ([]*efs.Entry, error) {
	var best []*efs.Entry
	read := 0
	top := func() {
		slices.SortFunc(best, func(a, b *efs.Entry) int {
			return cmp.Compare(sortKey(a.Name, a.Kind), sortKey(b.Name, b.Kind))
		})
		if len(best) > n {
			clear(best[n:])
			best = best[:n]
		}
	}
	err := fs.scan(ctx, efs.SpaceEntries, dir[:], scanPage, func(r *efs.Record) error {
		read++
		e, err := fs.openEntry(r.Key, r.Sealed)
		if isForgotten(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if k := sortKey(e.Name, e.Kind); k > from || inclusive && k == from {
			e.Extents = nil // it leads to the contents
			best = append(best, e)
		}
		if len(best) >= 2*n {
			top()
		}
		return nil
	})
	top()
	if read > fs.limits.large {
		fs.work.merge.add(dir)
	}
	return best, err
}

// scan calls fn for each record of a space whose key begins with prefix, a
// page at a time.
func (fs *FS) scan(ctx context.Context, space efs.Space, prefix []byte, page int, fn func(*efs.Record) error) error {
	var after []byte
	for {
		recs, err := fs.o.Index.Scan(ctx, space, prefix, after, page)
		if err != nil {
			return err
		}
		for i := range recs {
			if err := fn(&recs[i]); err != nil {
				return err
			}
		}
		if len(recs) < page {
			return nil
		}
		after = recs[len(recs)-1].Key
	}
}
