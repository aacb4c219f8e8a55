package fsys

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/efs-project/efs"
)

// blocksAtOnce is how many blocks of a long run are committed together: few,
// so that no store waits long behind them.
const blocksAtOnce = 16

// dirQueue is directories to which something is to be done.
type dirQueue struct {
	mu   sync.Mutex
	dirs map[efs.ID]struct{}
	wake chan struct{}
}

func (q *dirQueue) init() {
	q.dirs = map[efs.ID]struct{}{}
	q.wake = make(chan struct{}, 1)
}

func (q *dirQueue) add(dir efs.ID) {
	q.mu.Lock()
	q.dirs[dir] = struct{}{}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *dirQueue) take() (dir efs.ID, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for dir = range q.dirs {
		delete(q.dirs, dir)
		return dir, true
	}
	return dir, false
}

// tend does something to each directory of a queue, until the end. What fails
// is tried again when the directory is listed or stored into.
func (fs *FS) tend(q *dirQueue, what string, do func(context.Context, efs.ID) error) {
	for {
		select {
		case <-q.wake:
		case <-fs.work.ctx.Done():
			return
		}
		for dir, ok := q.take(); ok && fs.work.ctx.Err() == nil; dir, ok = q.take() {
			if fs.o.Index.Err() != nil {
				return // nothing can be changed any more
			}
			if err := do(fs.work.ctx, dir); !errors.Is(err, errNotLarge) {
				fs.report(what, err)
			}
		}
	}
}

// flushNames makes a run of the changes of a directory's names that wait, in
// one transaction, if there are many.
func (fs *FS) flushNames(ctx context.Context, dir efs.ID) error {
	d, err := fs.dirNames(ctx, dir)
	if err != nil || !d.large {
		return err
	}
	d.flushing.Lock()
	defer d.flushing.Unlock()
	err = fs.changeRoot(ctx, dir, func(root *namesRoot, t *txn) error {
		changes, keys, err := fs.changedNames(ctx, dir)
		if err != nil {
			return err
		}
		d.pending.Store(int64(len(keys)))
		if len(keys) < fs.limits.flush {
			return errFew
		}
		if !root.Building && len(root.Runs) == 0 {
			changes = slices.DeleteFunc(changes, func(it item) bool { return len(it.value) == 0 })
		}
		w := &runWriter{fs: fs, dir: dir, run: run{Number: root.Next}}
		w.emit = func(key, sealed []byte) error { t.raw(efs.SpaceNames, key, sealed); return nil }
		for _, it := range changes {
			if err := w.add(it); err != nil {
				return err
			}
		}
		r, err := w.finish()
		if err != nil {
			return err
		}
		for _, key := range keys {
			t.delete(efs.SpaceNames, key)
		}
		root.Next++
		if r.Items > 0 {
			root.Runs = slices.Insert(root.Runs, 0, r)
		}
		return nil
	})
	if errors.Is(err, errFew) {
		return nil
	}
	d.pending.Store(0) // after a failure it is tried again when as many wait anew
	if err == nil {
		fs.work.merge.add(dir)
	}
	return err
}

// errFew ends a flush that is not worth while.
var errFew = errors.New("few changed names")

// mergeNames does what the runs of a directory need: they are made when it has
// become large, merged when there are many, and what no run refers to is
// deleted.
func (fs *FS) mergeNames(ctx context.Context, dir efs.ID) error {
	fs.work.merging.Lock()
	defer fs.work.merging.Unlock()
	if fs.work.outdated(dir) {
		if err := fs.dropNames(ctx, dir); err != nil {
			return err
		}
	}
	root, _, err := fs.namesRoot(ctx, dir)
	if err == nil && root == nil {
		if err = fs.beginNames(ctx, dir); err == nil {
			root, _, err = fs.namesRoot(ctx, dir)
		}
	}
	for err == nil && root != nil {
		if err := fs.sweepRuns(ctx, dir, root); err != nil {
			return err
		}
		n := fs.mergeable(root)
		switch {
		case n > 0:
			err = fs.mergeRuns(ctx, dir, root.Runs[:n], n == len(root.Runs) && !root.Building)
		case root.Building:
			err = fs.sortEntries(ctx, dir, root.Cursor)
		default:
			return nil
		}
		if err == nil {
			root, _, err = fs.namesRoot(ctx, dir)
		}
	}
	return err
}

// renew asks that the names of a directory be made anew, as they are of an
// earlier form.
func (w *work) renew(dir efs.ID) {
	w.before.Store(dir, struct{}{})
	w.merge.add(dir)
}

// outdated reports, once, whether renew was asked for a directory.
func (w *work) outdated(dir efs.ID) bool {
	_, was := w.before.LoadAndDelete(dir)
	return was
}

// beginNames makes the root record of a directory that is large. From then on
// every transaction that changes an entry in it writes what changed, as each
// checks that there is a root, or is none.
func (fs *FS) beginNames(ctx context.Context, dir efs.ID) error {
	d, err := fs.dirNames(ctx, dir)
	if err != nil || d.hosts.Load() {
		return err
	}
	if hosts, err := fs.hostsUnits(ctx, dir, d); err != nil || hosts {
		return err
	}
	if n, err := fs.countEntries(ctx, dir, fs.limits.large+1); err != nil || n <= fs.limits.large {
		return err
	}
	if err := fs.dropNames(ctx, dir); err != nil { // of names given up
		return err
	}
	t := fs.begin(Who{})
	t.none(efs.SpaceNames, dir[:])
	t.t.Checks = append(t.t.Checks, efs.Check{Kind: efs.CheckPresent, Key: efs.Key{Space: efs.SpacePlaces, Bytes: dir[:]}})
	key := namesRootKey(dir)
	u, err := fs.unit(d.unit)
	if err != nil {
		return err
	}
	t.putIn(u, key.Space, key.Bytes, &namesRoot{Building: true})
	_, err = t.commit(ctx)
	if errors.Is(err, efs.ErrConflict) {
		return errNotLarge // deleted meanwhile
	}
	if err == nil {
		fs.large.Drop(dir)
	}
	return err
}

// countEntries counts the entries of a directory, up to limit.
func (fs *FS) countEntries(ctx context.Context, dir efs.ID, limit int) (n int, err error) {
	var after []byte
	for n < limit {
		page := min(scanPage, limit-n)
		recs, err := fs.o.Index.Scan(ctx, efs.SpaceEntries, dir[:], after, page)
		if err != nil {
			return n, err
		}
		n += len(recs)
		if len(recs) < page {
			break
		}
		after = recs[len(recs)-1].Key
	}
	return n, nil
}

// sortEntries makes a run of the next entries that the directory had when it
// became large. It goes behind all others: what changed since is in them, or
// waits to be.
func (fs *FS) sortEntries(ctx context.Context, dir efs.ID, after []byte) error {
	d, err := fs.dirNames(ctx, dir)
	if err != nil {
		return err
	}
	var items []item
	last := false
	for len(items) < fs.limits.chunk && !last {
		recs, err := fs.o.Index.Scan(ctx, efs.SpaceEntries, dir[:], after, min(scanPage, fs.limits.chunk-len(items)))
		if err != nil {
			return err
		}
		last = len(recs) == 0
		for i := range recs {
			e, u, err := fs.openUnitEntry(recs[i].Key, recs[i].Sealed)
			if isForgotten(err) || err == nil && d.unit.IsZero() && u != nil {
				return fs.giveUpNames(ctx, dir)
			}
			if err != nil {
				return err
			}
			value, err := encodeListed(e)
			if err != nil {
				return err
			}
			items = append(items, item{sortKey(e.Name, e.Kind), value})
			after = recs[i].Key
		}
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.key, b.key) })
	r, err := fs.writeRun(ctx, dir, []source{(*sorted)(&items)}, false)
	if err != nil {
		return err
	}
	return fs.changeRoot(ctx, dir, func(root *namesRoot, _ *txn) error {
		if r.Items > 0 {
			root.Runs = append(root.Runs, r)
		}
		root.Cursor, root.Building = after, !last
		if last {
			root.Cursor = nil
		}
		return nil
	})
}

// size is the size that a run of n items counts as: every one holds fanIn
// times as many as the one before.
func (l *namesLimits) size(n int64) (size int) {
	for most := int64(l.flush); n > most; most *= int64(l.fanIn) {
		size++
	}
	return size
}

// mergeable says how many of the newest runs are to become one: all up to the
// first size of which there are enough; or all if a third of their items say that
// a name is gone, as another third is then of those names.
func (fs *FS) mergeable(root *namesRoot) int {
	var items, deleted int64
	for i := range root.Runs {
		items += root.Runs[i].Items
		deleted += root.Runs[i].Deleted
	}
	if !root.Building && deleted > int64(fs.limits.flush) && deleted > items/3 {
		return len(root.Runs)
	}
	same, size, n := 0, 0, 0
	for ; n < len(root.Runs); n++ {
		if s := fs.limits.size(root.Runs[n].Items); s > size {
			if same >= fs.limits.fanIn {
				break
			}
			same, size = 0, s
		} else if s < size {
			continue
		}
		same++
	}
	if same < fs.limits.fanIn {
		return 0
	}
	return n
}

// mergeRuns makes one run of adjacent ones.
func (fs *FS) mergeRuns(ctx context.Context, dir efs.ID, runs []run, oldest bool) error {
	sources := make([]source, len(runs))
	for i := range runs {
		s, err := fs.newRunReader(ctx, dir, &runs[i], "")
		if err != nil {
			return err
		}
		sources[i] = s
	}
	merged, err := fs.writeRun(ctx, dir, sources, oldest)
	if err != nil {
		return err
	}
	return fs.changeRoot(ctx, dir, func(root *namesRoot, _ *txn) error {
		i := slices.IndexFunc(root.Runs, func(r run) bool { return r.Number == runs[0].Number })
		if i < 0 {
			return errNotLarge
		}
		root.Runs = slices.Delete(root.Runs, i, i+len(runs))
		if merged.Items > 0 {
			root.Runs = slices.Insert(root.Runs, i, merged)
		}
		return nil
	})
}

// writeRun makes a run of what sources give, in steps; nothing refers to it
// yet. With nothing older below them, oldest, names that are gone are left out.
func (fs *FS) writeRun(ctx context.Context, dir efs.ID, sources []source, oldest bool) (run, error) {
	w := &runWriter{fs: fs, dir: dir}
	err := fs.changeRoot(ctx, dir, func(root *namesRoot, _ *txn) error {
		w.run.Number = root.Next
		root.Next++
		return nil
	})
	if err != nil {
		return run{}, err
	}
	t := fs.begin(Who{})
	commit := func() error {
		t.t.Checks = []efs.Check{{Kind: efs.CheckPresent, Key: namesRootKey(dir)}}
		_, err := t.commit(ctx)
		if errors.Is(err, efs.ErrConflict) {
			err = errNotLarge
		}
		t = fs.begin(Who{})
		return err
	}
	w.emit = func(key, sealed []byte) error {
		t.raw(efs.SpaceNames, key, sealed)
		if len(t.t.Mutations) < blocksAtOnce {
			return nil
		}
		return commit()
	}
	err = merge(ctx, sources, func(it item) (bool, error) {
		if oldest && len(it.value) == 0 {
			return true, nil
		}
		return true, w.add(it)
	})
	if err != nil {
		return run{}, err
	}
	r, err := w.finish()
	if err != nil {
		return run{}, err
	}
	return r, commit()
}

// sweepRuns deletes the blocks of runs that the root does not refer to: those
// that were merged, and those of a run that was never finished. Numbers from
// root.Next on are of runs made since the root was read.
func (fs *FS) sweepRuns(ctx context.Context, dir efs.ID, root *namesRoot) error {
	prefix := namesKey(dir, namesRunTag)
	var after []byte
	for {
		recs, err := fs.o.Index.Scan(ctx, efs.SpaceNames, prefix, after, 1)
		if err != nil || len(recs) == 0 {
			return err
		}
		number, err := runNumber(recs[0].Key)
		if err != nil {
			return err
		}
		used := slices.ContainsFunc(root.Runs, func(r run) bool { return r.Number == number })
		if !used && number < root.Next {
			if err := fs.dropRecords(ctx, runPrefix(dir, number)); err != nil {
				return err
			}
		}
		// No block of a run has a level as high as this.
		after = append(runPrefix(dir, number), 0xff)
	}
}
