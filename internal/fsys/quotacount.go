package fsys

import (
	"context"
	"errors"
	"time"

	"github.com/efs-project/efs"
)

const (
	countPage = 256 // entries that are counted while nothing is committed
	countRest = 4   // times as long as that took, others have their turn
)

// kicked wakes a goroutine. Kicks while it is awake count as one.
type kicked chan struct{}

func (k kicked) kick() {
	select {
	case k <- struct{}{}:
	default:
	}
}

// tally is what was counted of a user so far.
type tally struct {
	account efs.ID // whose it becomes; another one means another counting
	use     efs.Usage
}

// of returns the quota of the user whose tally it is; nil if that was taken
// away meanwhile.
func (t *tally) of(q *quotas, user string) *userQuota {
	if u := q.users[user]; u != nil && u.Account == t.account && !u.Counted {
		return u
	}
	return nil
}

// countUsers counts what users have in use whose quotas are new, until the
// file system is closed.
func (fs *FS) countUsers() {
	for {
		if users := fs.uncounted(); len(users) > 0 {
			fs.countAll(users)
		} else {
			select {
			case <-fs.work.count:
			case <-fs.work.ctx.Done():
			}
		}
		if fs.work.ctx.Err() != nil {
			return
		}
	}
}

// uncounted returns empty tallies of the users who are not counted yet.
func (fs *FS) uncounted() map[string]*tally {
	users := map[string]*tally{}
	for name, u := range fs.quotas.Load().users {
		if !u.Counted {
			users[name] = &tally{account: u.Account}
		}
	}
	return users
}

// countAll goes through all entries, a page at a time. While a page is counted
// nothing is committed; what is committed between two pages knows from the
// cursor what was counted. After a failure it goes on where it was.
func (fs *FS) countAll(users map[string]*tally) {
	var cursor []byte
	for done := false; !done && fs.work.ctx.Err() == nil; {
		begun := time.Now()
		next, err := fs.countPage(fs.work.ctx, users, cursor)
		if err == nil && next == nil {
			err = fs.endCount(fs.work.ctx, users)
			done = err == nil
		}
		if err != nil {
			fs.report("counting what users have in use", err)
			fs.pause(workEvery)
			continue
		}
		cursor = next
		fs.pause(countRest * time.Since(begun))
	}
}

// ownedFile is what counts of an entry, as of a version of its record. The
// zero value counts nothing.
type ownedFile struct {
	version uint64
	owner   string
	size    int64
	file    bool
}

// ownedFile opens the entry in a record. One that was forgotten, or does not
// open, is not counted: the one is no longer there, of the other fsck tells.
func (fs *FS) ownedFile(r *efs.Record) (ownedFile, error) {
	e, err := fs.openOwnEntry(r.Key, r.Sealed)
	switch {
	case isForgotten(err), errors.Is(err, efs.ErrDamaged):
		return ownedFile{version: r.Version}, nil
	case err != nil:
		return ownedFile{}, err
	}
	return ownedFile{version: r.Version, owner: e.Owner, size: e.Size, file: e.Kind != efs.KindDir}, nil
}

// countPage counts the entries after cursor and returns the new cursor; nil at
// the end. The page is read twice: what had not changed when nothing could be
// committed any more need not be opened again.
func (fs *FS) countPage(ctx context.Context, users map[string]*tally, cursor []byte) ([]byte, error) {
	recs, err := fs.o.Index.Scan(ctx, efs.SpaceEntries, nil, cursor, countPage)
	if err != nil {
		return nil, err
	}
	known := make(map[entryKey]ownedFile, len(recs))
	for i := range recs {
		if len(recs[i].Key) != len(entryKey{}) {
			continue // fsck tells of it
		}
		if known[entryKey(recs[i].Key)], err = fs.ownedFile(&recs[i]); err != nil {
			return nil, err
		}
	}
	fs.accounting.Lock()
	defer fs.accounting.Unlock()
	if recs, err = fs.o.Index.Scan(ctx, efs.SpaceEntries, nil, cursor, countPage); err != nil || len(recs) == 0 {
		return nil, err
	}
	q := fs.quotas.Load()
	for i := range recs {
		r := &recs[i]
		if len(r.Key) != len(entryKey{}) {
			continue
		}
		o := known[entryKey(r.Key)]
		if o.version != r.Version {
			if o, err = fs.ownedFile(r); err != nil {
				return nil, err
			}
		}
		t := users[o.owner]
		if t == nil || !o.file {
			continue
		}
		if u := t.of(q, o.owner); u != nil && !u.has(r.Key, r.Version) {
			t.use.Bytes += o.size
			t.use.Files++
		}
	}
	last := recs[len(recs)-1].Key
	for name, t := range users {
		if u := t.of(q, name); u != nil {
			u.cursor = last
		}
	}
	return last, nil
}

// endCount adds what was counted to the accounts; from then on the bounds hold.
func (fs *FS) endCount(ctx context.Context, users map[string]*tally) error {
	fs.accounting.Lock()
	defer fs.accounting.Unlock()
	next := fs.quotas.Load().clone()
	t := fs.begin(Who{})
	for name, sum := range users {
		u := sum.of(next, name)
		if u == nil {
			continue
		}
		rec := u.quotaRecord
		rec.Counted = true
		t.put(efs.SpaceMeta, fs.quotaKey(name), &rec)
		t.t.Usage = append(t.t.Usage, efs.Delta{Account: rec.Account, Bytes: sum.use.Bytes, Files: sum.use.Files})
		next.set(rec, 0)
	}
	if _, err := t.commitAlone(ctx); err != nil {
		return err
	}
	fs.quotas.Store(next)
	return nil
}
