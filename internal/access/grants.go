package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
)

// held is a holder's grants and what they come to. It is never changed, only
// replaced.
type held struct {
	holding *Holding
	rights  *Rights
}

// OnRevoke registers fn to be called with the holder of a grant after it was
// taken away, wholly or in part. As with OnChange, whoever keeps sessions or
// connections ends the holder's then, before the change returns to its caller.
func (d *Directory) OnRevoke(fn func(holder Principal)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onRevoke = append(d.onRevoke, fn)
}

// Rights returns what one of the directory's own users may do here: everything
// on paths, unless the user's rights are explicit.
func (d *Directory) Rights(user string) *Rights {
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := d.users[user]
	switch h := d.holdings[Principal{user, d.fs}]; {
	case m == nil || m.user.Revoked != nil:
		return nothing
	case h != nil: // also where a record of the user from before was put back
		return h.rights
	case !m.user.Explicit:
		return everything
	}
	return nothing
}

// RightsOf returns what a user of another realm may do here. A grant that was
// made to an earlier holder of the same name counts for nothing.
func (d *Directory) RightsOf(holder Holder) *Rights {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if h := d.holdings[holder.Principal()]; h != nil && h.holding.Holder.same(holder) {
		return h.rights
	}
	return nothing
}

// Created returns when a user was made, by which users who have one name one
// after the other are told apart. ok is false for a user who does not exist,
// or is revoked.
func (d *Directory) Created(user string) (t time.Time, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := d.users[user]
	if m == nil || m.user.Revoked != nil {
		return t, false
	}
	return m.user.Created, true
}

// Grant lets a holder do p with a resource of this directory's file system, or,
// in the server's own directory, with a key. Durable on return. Errors:
// efs.ErrBadInput (what cannot be permitted there), efs.ErrNotFound (a user of
// this directory who does not exist), efs.ErrRefused (too many grants).
func (d *Directory) Grant(ctx context.Context, holder Holder, on Resource, p Permissions) error {
	if err := on.check(p); err != nil {
		return err
	}
	return d.changeGrants(ctx, holder, func(h *Holding, now time.Time) error { return h.add(on.on(), p, now) })
}

// RevokeGrant takes p on a resource from a holder, whose sessions end. A user
// who had everything keeps the rest of it. Errors: efs.ErrNotFound,
// efs.ErrRefused where a wider grant permits it, which is named.
func (d *Directory) RevokeGrant(ctx context.Context, holder Holder, on Resource, p Permissions) error {
	before := d.Generation()
	err := d.changeGrants(ctx, holder, func(h *Holding, _ time.Time) error { return h.remove(on, p) })
	if err == nil || d.Generation() != before {
		d.revoked(holder.Principal())
	}
	return err
}

// changeGrants changes what a holder has by fn. What is written down about a
// user of the directory says from then on that the grants count, in the same
// commit.
func (d *Directory) changeGrants(ctx context.Context, holder Holder, fn func(*Holding, time.Time) error) error {
	d.write.Lock()
	defer d.write.Unlock()
	who := holder.Principal()
	return retry(func() error {
		h, version, err := d.holding(ctx, who)
		if err != nil {
			return err
		}
		if h == nil || !h.Holder.same(holder) && holder.Realm != d.fs {
			h = &Holding{Format: recordVersion, Holder: holder}
		}
		var u *User
		var muts []efs.AccessMutation
		if holder.Realm == d.fs {
			if u, muts, err = d.makeExplicit(ctx, holder.User); err != nil {
				return err
			}
			if u != nil && version == 0 {
				h = everythingHolding(d.fs, u)
			}
		}
		if err := fn(h, d.now().UTC().Truncate(time.Second)); err != nil {
			return err
		}
		mut := efs.AccessMutation{Kind: kindGrant, Name: who.String(), Version: version}
		if len(h.Grants) > 0 {
			if mut.Value, err = encodeHolding(h); err != nil {
				return err
			}
		} else {
			h = nil
		}
		if mut.Value != nil || version != 0 {
			muts = append(muts, mut)
		}
		if err := d.storeAll(ctx, muts); err != nil {
			return fmt.Errorf("changing the grants of %s: %w", who, err)
		}
		d.takeHolding(who, h)
		if u != nil {
			m, err := newMember(u)
			if err != nil {
				return err
			}
			d.take(u.Name, m)
		}
		return nil
	})
}

// makeExplicit returns the record of a user who has everything, to be stored
// as one whose grants count; no record where they count already.
func (d *Directory) makeExplicit(ctx context.Context, name string) (*User, []efs.AccessMutation, error) {
	value, version, err := d.store.AccessGet(ctx, kindUser, name)
	if errors.Is(err, efs.ErrNotFound) {
		return nil, nil, notFound(d.fs, name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading user %s: %w", name, err)
	}
	u, err := decodeUser(name, value)
	if err != nil || u.Explicit {
		return nil, nil, err
	}
	u.Explicit = true
	value, err = encodeUser(u)
	return u, []efs.AccessMutation{{Kind: kindUser, Name: name, Value: value, Version: version}}, err
}

// holding reads what a holder has; nil and version 0 if that is nothing.
func (d *Directory) holding(ctx context.Context, who Principal) (*Holding, uint64, error) {
	value, version, err := d.store.AccessGet(ctx, kindGrant, who.String())
	if errors.Is(err, efs.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading the grants of %s: %w", who, err)
	}
	h, err := decodeHolding(who.String(), value)
	return h, version, err
}

// storeAll commits mutations together. As in storeOne, after a failure that
// may have come when they were stored already, what the store holds counts.
func (d *Directory) storeAll(ctx context.Context, muts []efs.AccessMutation) error {
	err := d.store.AccessCommit(ctx, muts)
	if err == nil || errors.Is(err, efs.ErrConflict) {
		return err
	}
	return errors.Join(err, d.reload(context.WithoutCancel(ctx)))
}

// DropGrants forgets every grant of the holders that match, and on the
// resources that match, where either is not nil. The sessions of those who
// lose something end; the others' do not.
func (d *Directory) DropGrants(ctx context.Context, match func(Principal) bool, on func(string) bool) error {
	for _, h := range d.Holdings("") {
		who := h.Holder.Principal()
		if match != nil && !match(who) {
			continue
		}
		lost := func(g Grant) bool { return on == nil || on(g.On) }
		if !slices.ContainsFunc(h.Grants, lost) {
			continue
		}
		before := d.Generation()
		err := d.changeGrants(ctx, h.Holder, func(h *Holding, _ time.Time) error {
			h.Grants = slices.DeleteFunc(h.Grants, lost)
			return nil
		})
		if err == nil || d.Generation() != before {
			d.revoked(who)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Holdings returns the grants of all holders, by name, or of one ("": all).
// Users who have everything have none.
func (d *Directory) Holdings(user string) []Holding {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := []Holding{}
	for who, h := range d.holdings {
		if user == "" || user == who.User || user == who.String() {
			c := *h.holding
			c.Grants = slices.Clone(c.Grants)
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b Holding) int {
		return strings.Compare(a.Holder.Principal().String(), b.Holder.Principal().String())
	})
	return list
}

// readHoldings reads the grants of all holders from the store.
func (d *Directory) readHoldings(ctx context.Context) (map[Principal]*held, error) {
	all := map[Principal]*held{}
	const page = 1 << 14
	for after := ""; ; {
		records, err := d.store.AccessList(ctx, kindGrant, after, page)
		if err != nil {
			return nil, fmt.Errorf("reading the grants in %s: %w", d.fs, err)
		}
		for _, r := range records {
			h, err := decodeHolding(r.Name, r.Value)
			if err != nil {
				return nil, err
			}
			all[h.Holder.Principal()] = &held{h, newRights(h.Grants)}
			after = r.Name
		}
		if len(records) < page {
			return all, nil
		}
	}
}

// takeHolding makes h (nil: nothing) what is known of a holder.
func (d *Directory) takeHolding(who Principal, h *Holding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.holdings, who)
	if h != nil {
		d.holdings[who] = &held{h, newRights(h.Grants)}
	}
	d.gen.Add(1)
}

func (d *Directory) revoked(who Principal) {
	d.mu.RLock()
	fns := slices.Clone(d.onRevoke)
	d.mu.RUnlock()
	for _, fn := range fns {
		fn(who)
	}
}
