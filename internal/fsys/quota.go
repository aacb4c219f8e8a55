package fsys

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/efs-project/efs"
)

// metaQuota begins the keys in SpaceMeta of quotas: alone for the file system,
// followed by a token for a user.
const metaQuota = 'q'

func (fs *FS) quotaKey(user string) []byte {
	if user == "" {
		return []byte{metaQuota}
	}
	token := fs.names.Access("quota", &user)
	return append([]byte{metaQuota}, token[:]...)
}

// quotaRecord is a quota in SpaceMeta. What a user has in use is counted in an
// account of the user's own, from the time on when the quota was set; what was
// there before is added to it when it has been counted.
type quotaRecord struct {
	User     string `cbor:"1,keyasint,omitempty"` // "": the file system
	MaxBytes int64  `cbor:"2,keyasint,omitempty"` // 0: no bound
	MaxFiles int64  `cbor:"3,keyasint,omitempty"`
	Account  efs.ID `cbor:"4,keyasint,omitzero"`  // of the user
	Counted  bool   `cbor:"5,keyasint,omitempty"` // the account says what the user has in use
}

// Quota bounds what a file system, or one user of it, may have in use. A file
// is counted for the user who wrote its present version.
type Quota struct {
	User     string `json:"user,omitempty"` // "": the whole file system
	MaxBytes int64  `json:"max_bytes"`      // of the plaintext; 0: no bound
	MaxFiles int64  `json:"max_files"`      // without directories; 0: no bound
}

// QuotaState is a quota with what is in use of it.
type QuotaState struct {
	Quota
	Bytes    int64 `json:"bytes"`
	Files    int64 `json:"files"`
	Counting bool  `json:"counting,omitempty"` // what the user has in use is still being counted: the bounds hold from then on
}

// QuotaChange says what of a quota changes. What is nil stays; 0 takes a bound
// away.
type QuotaChange struct {
	User     string // "": the whole file system
	MaxBytes *int64
	MaxFiles *int64
}

// SetQuota changes a quota and returns what it came to, durably. Bounds hold
// for what is stored from then on: a file system that is above one stays
// readable, and deleting, and replacing by something smaller, always work.
//
// The first bound of a user has the user's files counted in the background,
// beside readers and writers. efs.ErrBadInput.
func (fs *FS) SetQuota(ctx context.Context, who Who, c QuotaChange) (QuotaState, error) {
	if err := fs.ready(); err != nil {
		return QuotaState{}, err
	}
	if c.User != "" && !efs.ValidUserName(c.User) {
		return QuotaState{}, fmt.Errorf("%w: '%s' is no user name", efs.ErrBadInput, c.User)
	}
	for _, n := range []*int64{c.MaxBytes, c.MaxFiles} {
		if n != nil && *n < 0 {
			return QuotaState{}, fmt.Errorf("%w: a quota of %d; 0 takes a bound away", efs.ErrBadInput, *n)
		}
	}
	if err := fs.changeQuota(ctx, who, &c); err != nil {
		return QuotaState{}, fmt.Errorf("setting a quota: %w", err)
	}
	return fs.quotaState(ctx, c.User)
}

// changeQuota commits the change while no other transaction is under way, so
// that each is either before it or counted by it.
func (fs *FS) changeQuota(ctx context.Context, who Who, c *QuotaChange) error {
	fs.accounting.Lock()
	defer fs.accounting.Unlock()
	next := fs.quotas.Load().clone()
	rec, known := next.record(c.User)
	before := rec
	if c.MaxBytes != nil {
		rec.MaxBytes = *c.MaxBytes
	}
	if c.MaxFiles != nil {
		rec.MaxFiles = *c.MaxFiles
	}
	if rec == before {
		return nil
	}
	t := fs.begin(who)
	t.change(&efs.Change{Op: efs.OpAccess, Path: strings.TrimSuffix("quota/"+c.User, "/")})
	key := fs.quotaKey(c.User)
	switch unbound := rec.MaxBytes == 0 && rec.MaxFiles == 0; {
	case unbound:
		t.delete(efs.SpaceMeta, key)
		if err := t.closeAccount(ctx, rec.Account); err != nil {
			return err
		}
	case c.User != "" && !known:
		rec.Account = efs.NewID()
		fallthrough
	default:
		t.put(efs.SpaceMeta, key, &rec)
	}
	done, err := t.commitAlone(ctx)
	if err != nil {
		return err
	}
	next.set(rec, done.Revision)
	fs.quotas.Store(next)
	if c.User != "" && !known {
		fs.work.count.kick()
	}
	return nil
}

// closeAccount gives back all that an account has in use. The caller keeps
// other transactions away.
func (t *txn) closeAccount(ctx context.Context, account efs.ID) error {
	if account.IsZero() {
		return nil
	}
	u, err := t.fs.o.Index.Usage(ctx, account)
	if err == nil && u != (efs.Usage{}) {
		t.t.Usage = append(t.t.Usage, efs.Delta{Account: account, Bytes: -u.Bytes, Files: -u.Files})
	}
	return err
}

// Quota is the quota of the whole file system.
func (fs *FS) Quota() Quota {
	q := fs.quotas.Load()
	return Quota{MaxBytes: q.whole.MaxBytes, MaxFiles: q.whole.MaxFiles}
}

// Quotas returns the quota of the file system, bounded or not, and those of
// users, by name.
func (fs *FS) Quotas(ctx context.Context) ([]QuotaState, error) {
	if err := fs.ready(); err != nil {
		return nil, err
	}
	names := []string{""}
	for name := range fs.quotas.Load().users {
		names = append(names, name)
	}
	slices.Sort(names)
	all := make([]QuotaState, 0, len(names))
	for _, name := range names {
		s, err := fs.quotaState(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// quotaState tells the quota of a user, or of the file system.
func (fs *FS) quotaState(ctx context.Context, user string) (QuotaState, error) {
	q := fs.quotas.Load()
	s := QuotaState{Quota: Quota{User: user, MaxBytes: q.whole.MaxBytes, MaxFiles: q.whole.MaxFiles}}
	account := fs.o.ID
	if user != "" {
		u := q.users[user]
		if u == nil {
			return QuotaState{Quota: Quota{User: user}}, nil
		}
		s.MaxBytes, s.MaxFiles, s.Counting = u.MaxBytes, u.MaxFiles, !u.Counted
		account = u.Account
	}
	if s.Counting {
		return s, nil
	}
	use, err := fs.o.Index.Usage(ctx, account)
	s.Bytes, s.Files = use.Bytes, use.Files
	return s, err
}

// affordable judges, before a body travels, whether there is room for one of
// size in place of old. What is then committed is judged again.
func (fs *FS) affordable(ctx context.Context, user string, old *efs.Entry, size int64) error {
	q := fs.quotas.Load()
	if size < 0 || q.none() {
		return nil
	}
	for _, name := range []string{"", user} {
		s, err := fs.quotaState(ctx, name)
		if err != nil {
			return err
		}
		more, files := size, int64(1)
		if old != nil && (name == "" || old.Owner == name) {
			more, files = size-old.Size, 0
		}
		if err := s.admit(more, files); err != nil {
			return err
		}
		if user == "" {
			break
		}
	}
	return nil
}

func (s *QuotaState) admit(bytes, files int64) error {
	over := func(max, have, more int64) bool { return max > 0 && more > 0 && have > max-more }
	if s.Counting || !over(s.MaxBytes, s.Bytes, bytes) && !over(s.MaxFiles, s.Files, files) {
		return nil
	}
	return fmt.Errorf("%w: %d bytes in %d files are in use, %d bytes in %d files are allowed (0: no bound)", efs.ErrQuota, s.Bytes, s.Files, s.MaxBytes, s.MaxFiles)
}

// loadQuotas reads the quotas when the file system is opened, before anything
// is stored. What was being counted when the last run ended is begun anew.
func (fs *FS) loadQuotas(ctx context.Context) error {
	q := &quotas{}
	err := fs.scan(ctx, efs.SpaceMeta, []byte{metaQuota}, scanPage, func(r *efs.Record) error {
		var rec quotaRecord
		if err := fs.open(efs.SpaceMeta, r.Key, r.Sealed, &rec); err != nil {
			return fmt.Errorf("quota record: %w", err)
		}
		q.set(rec, 0)
		return nil
	})
	for _, u := range q.users {
		if err == nil && !u.Counted {
			err = fs.recount(ctx, u)
		}
	}
	fs.quotas.Store(q)
	return err
}

// recount gives a user a fresh account, to be filled.
func (fs *FS) recount(ctx context.Context, u *userQuota) error {
	t := fs.begin(Who{})
	if err := t.closeAccount(ctx, u.Account); err != nil {
		return err
	}
	rec := u.quotaRecord
	rec.Account = efs.NewID()
	t.put(efs.SpaceMeta, fs.quotaKey(rec.User), &rec)
	done, err := t.commitAlone(ctx)
	if err != nil {
		return fmt.Errorf("counting what user '%s' has in use: %w", rec.User, err)
	}
	u.quotaRecord, u.since = rec, done.Revision
	return nil
}
