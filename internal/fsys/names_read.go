package fsys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/efs-project/efs"
)

// namesPage is page by the names of a large directory. ok is false if it is
// not large, or its names are not complete or do not open: then its entries
// tell.
func (fs *FS) namesPage(ctx context.Context, dir efs.ID, from string, inclusive bool, n int) (page []*efs.Entry, ok bool, err error) {
	page, ok, err = fs.tryNames(ctx, dir, from, inclusive, n)
	if errors.Is(err, efs.ErrDamaged) {
		fs.log.Error("the names of a directory do not open, so that all its entries are read: run fsck", "directory", dir.String(), "error", err)
		return nil, false, nil
	}
	return page, ok, err
}

// tryNames is namesPage, with efs.ErrDamaged for names that do not open.
func (fs *FS) tryNames(ctx context.Context, dir efs.ID, from string, inclusive bool, n int) (page []*efs.Entry, ok bool, err error) {
	for range maxTries {
		root, version, err := fs.namesRoot(ctx, dir)
		if err == nil && root == nil {
			return nil, false, nil
		}
		if err == nil && root.Building {
			fs.work.merge.add(dir)
			return nil, false, nil
		}
		if err == nil {
			page, err = fs.readNames(ctx, dir, root, from, inclusive, n)
		}
		// Runs and changes were those of one moment if the root is as it was.
		now, stillErr := fs.o.Index.Get(ctx, namesRootKey(dir))
		if stillErr != nil {
			return nil, false, stillErr
		}
		if now[0].Version != version {
			continue
		}
		if errors.Is(err, errNamesBefore) {
			fs.work.renew(dir)
			return nil, false, nil
		}
		return page, err == nil, err
	}
	return nil, false, errBusy
}

// readNames returns the first n entries whose keys follow from.
func (fs *FS) readNames(ctx context.Context, dir efs.ID, root *namesRoot, from string, inclusive bool, n int) (page []*efs.Entry, err error) {
	sources, err := fs.nameSources(ctx, dir, root, from)
	if err != nil {
		return nil, err
	}
	err = merge(ctx, sources, func(it item) (bool, error) {
		if len(it.value) == 0 || it.key == from && !inclusive {
			return true, nil
		}
		e, err := decodeListed(it)
		page = append(page, e)
		return len(page) < n, err
	})
	return page, err
}

// nameSources returns what the names of a directory from a key on are made of,
// newest first.
func (fs *FS) nameSources(ctx context.Context, dir efs.ID, root *namesRoot, from string) ([]source, error) {
	changes, _, err := fs.changedNames(ctx, dir)
	if err != nil {
		return nil, err
	}
	i, _ := slices.BinarySearchFunc(changes, from, func(it item, k string) int { return cmp.Compare(it.key, k) })
	changes = changes[i:]
	sources := make([]source, 1+len(root.Runs))
	sources[0] = (*sorted)(&changes)
	failed := make([]error, len(root.Runs))
	var ways sync.WaitGroup // down the runs: each waits for the disk block after block
	for i := range root.Runs {
		ways.Go(func() { sources[1+i], failed[i] = fs.newRunReader(ctx, dir, &root.Runs[i], from) })
	}
	ways.Wait()
	return sources, cmp.Or(failed...)
}

// changedNames returns the names that have changed and are in no run yet, in
// order, the newest of each; and the keys of all records of them. What is
// committed after it has begun is left out: it reads page by page, and would
// otherwise find the newer of two changes of a name and miss the older, which
// would then be left above the run that the newer one went into.
func (fs *FS) changedNames(ctx context.Context, dir efs.ID) (changes []item, keys [][]byte, err error) {
	head, err := fs.o.Index.Head(ctx)
	if err != nil {
		return nil, nil, err
	}
	type change struct {
		item
		version uint64
	}
	var all []change
	err = fs.scan(ctx, efs.SpaceNames, namesKey(dir, namesChangeTag), scanPage, func(r *efs.Record) error {
		if r.Version > head.Revision {
			return nil
		}
		b, _, err := fs.openRecord(efs.SpaceNames, r.Key, r.Sealed)
		if err != nil {
			return err
		}
		items, err := readItems(b)
		if err != nil {
			return err
		}
		if len(items) != 1 {
			return fmt.Errorf("%w: the record of a changed name has %d", efs.ErrDamaged, len(items))
		}
		all = append(all, change{items[0], r.Version})
		keys = append(keys, r.Key)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(all, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(b.version, a.version))
	})
	for i := range all {
		if i == 0 || all[i].key != all[i-1].key {
			changes = append(changes, all[i].item)
		}
	}
	return changes, keys, nil
}
