package fsys

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/efs-project/efs"
)

// quotas are the quotas of a file system at one time. What is in it does not
// change, but for how far users have been counted, which fs.accounting guards.
type quotas struct {
	whole quotaRecord
	users map[string]*userQuota
}

// userQuota is the quota of a user. While the user is being counted, an entry
// is in the account if it was written after the counting began, or if the
// counting has passed it.
type userQuota struct {
	quotaRecord
	since  uint64 // the revision that began it
	cursor []byte // of the entries, counted so far; nil: none
}

func (q *quotas) none() bool {
	return q.users == nil && q.whole.MaxBytes == 0 && q.whole.MaxFiles == 0
}

func (q *quotas) clone() *quotas {
	return &quotas{whole: q.whole, users: maps.Clone(q.users)}
}

// record returns the record of a user, or of the file system, and whether
// there is one.
func (q *quotas) record(user string) (rec quotaRecord, known bool) {
	if user == "" {
		return q.whole, q.whole != quotaRecord{}
	}
	if u := q.users[user]; u != nil {
		return u.quotaRecord, true
	}
	return quotaRecord{User: user}, false
}

// set takes a record in, or out if it bounds nothing. since is the revision of
// its first commit.
func (q *quotas) set(rec quotaRecord, since uint64) {
	if rec.User == "" {
		q.whole = rec
		return
	}
	if rec.MaxBytes == 0 && rec.MaxFiles == 0 {
		delete(q.users, rec.User)
		if len(q.users) == 0 {
			q.users = nil
		}
		return
	}
	u := &userQuota{since: since}
	if old := q.users[rec.User]; old != nil {
		*u = *old
	}
	u.quotaRecord = rec
	if q.users == nil {
		q.users = map[string]*userQuota{}
	}
	q.users[rec.User] = u
}

// has reports whether the entry in a record is in the user's account.
func (u *userQuota) has(key []byte, version uint64) bool {
	return u.Counted || version > u.since || u.cursor != nil && bytes.Compare(key, u.cursor) <= 0
}

// owned is a file that a transaction takes from a user, or gives to one.
type owned struct {
	user    string
	bytes   int64
	key     []byte // of the record that it is taken with; nil: it is given
	version uint64
}

// gain counts a file that the transaction stores.
func (t *txn) gain(e *efs.Entry) {
	t.counts = true
	t.use.Bytes += e.Size
	t.use.Files++
	t.owns(owned{user: e.Owner, bytes: e.Size})
}

// lose uncounts the file whose entry is in the record of the given key and
// version.
func (t *txn) lose(e *efs.Entry, key []byte, version uint64) {
	t.counts = true
	t.use.Bytes -= e.Size
	t.use.Files--
	t.owns(owned{user: e.Owner, bytes: e.Size, key: key, version: version})
}

// rewrite says that the record of the given key and version gives way to
// another, here or elsewhere, with the same file: counted or not before, it is
// counted then.
func (t *txn) rewrite(e *efs.Entry, key []byte, version uint64) {
	if e.Kind == efs.KindDir {
		return
	}
	t.counts = true
	t.owns(owned{user: e.Owner, bytes: e.Size, key: key, version: version})
	t.owns(owned{user: e.Owner, bytes: e.Size})
}

func (t *txn) owns(o owned) {
	if t.quotas.users != nil && t.quotas.users[o.user] != nil {
		t.owned = append(t.owned, o)
	}
}

// charge adds what the transaction uses, with the bounds that hold. The caller
// holds fs.accounting, so that none of them changes before the commit.
func (t *txn) charge() error {
	if !t.counts {
		return nil
	}
	if slices.Contains(t.fs.ended(), t.epoch) {
		return fmt.Errorf("%w: the keys of epoch %d are being retired", efs.ErrConflict, t.epoch)
	}
	if t.fs.quotas.Load() != t.quotas {
		return fmt.Errorf("%w: a quota", efs.ErrConflict)
	}
	if t.use != (efs.Usage{}) {
		t.t.Usage = append(t.t.Usage, efs.Delta{
			Account: t.fs.o.ID, Bytes: t.use.Bytes, Files: t.use.Files,
			MaxBytes: t.quotas.whole.MaxBytes, MaxFiles: t.quotas.whole.MaxFiles,
		})
	}
	first := len(t.t.Usage)
	for i := range t.owned {
		o := &t.owned[i]
		u := t.quotas.users[o.user]
		switch {
		case o.key == nil:
			t.chargeUser(first, u, o.bytes, 1)
		case u.has(o.key, o.version):
			t.chargeUser(first, u, -o.bytes, -1)
		}
	}
	for _, h := range t.held {
		t.chargeUser(first, h.user, h.bytes, 0)
	}
	return nil
}

// chargeUser adds to the one delta of a user's account, so that only what the
// transaction comes to is judged.
func (t *txn) chargeUser(first int, u *userQuota, bytes, files int64) {
	for i := first; i < len(t.t.Usage); i++ {
		if d := &t.t.Usage[i]; d.Account == u.Account {
			d.Bytes += bytes
			d.Files += files
			return
		}
	}
	d := efs.Delta{Account: u.Account, Bytes: bytes, Files: files}
	if u.Counted {
		d.MaxBytes, d.MaxFiles = u.MaxBytes, u.MaxFiles
	}
	t.t.Usage = append(t.t.Usage, d)
}

// commitAlone commits a transaction about quotas. The caller keeps all others
// away.
func (t *txn) commitAlone(ctx context.Context) (efs.Committed, error) {
	if t.err != nil {
		return efs.Committed{}, t.err
	}
	return t.fs.o.Index.Commit(ctx, &t.t)
}
