package fsys

import "github.com/efs-project/efs"

// held is what a part of an upload adds to the account of a user, or gives
// back.
type held struct {
	user  *userQuota
	bytes int64
}

// hold counts the bytes of a part of an upload as in use. It returns the account
// of the user that they are counted in too, zero where the user has no quota:
// what was not counted is not given back.
func (t *txn) hold(user string, bytes int64) (account efs.ID) {
	t.counts = true
	t.use.Bytes += bytes
	u := t.quotas.users[user]
	if u == nil {
		return efs.ID{}
	}
	t.held = append(t.held, held{u, bytes})
	return u.Account
}

// letGo gives back what hold counted.
func (t *txn) letGo(user string, part *leasedPart) {
	t.counts = true
	t.use.Bytes -= part.Extent.Length
	if u := t.quotas.users[user]; u != nil && u.Account == part.Account {
		t.held = append(t.held, held{u, -part.Extent.Length})
	}
}
