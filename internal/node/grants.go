package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
)

// Admins returns the server's own realm: administrators, and who holds grants
// on keys. efs.ErrSealed while the node is not ready.
func (n *Node) Admins() (*access.Directory, error) {
	v := n.secrets()
	if v == nil {
		return nil, n.Serving()
	}
	return v.realm, nil
}

// Users returns the directory of a realm: of a file system's users, or with
// efs.ServerRealm of the administrators. Errors: those of FS.
func (n *Node) Users(realm string) (*access.Directory, error) {
	if realm == efs.ServerRealm {
		if err := n.Serving(); err != nil {
			return nil, err
		}
		return n.Admins()
	}
	f, err := n.FS(realm)
	if err != nil {
		return nil, err
	}
	return f.Users, nil
}

// openRealm opens the server's own realm, whose users lose their sessions and
// connections when something is taken from them.
func (n *Node) openRealm(v *vault) error {
	var err error
	if v.realm, err = access.OpenRealm(n.ctx, v.box); err != nil {
		return fmt.Errorf("opening the server's administrators: %w", err)
	}
	n.watchUsers(v, v.realm)
	return nil
}

// watchUsers ends sessions and connections of whoever loses something in d.
func (n *Node) watchUsers(v *vault, d *access.Directory) {
	end := func(realm, user string) {
		v.sessions.EndUser(realm, user)
		n.accessChanged(realm, user)
	}
	d.OnChange(func(user string) { end(d.FS(), user) })
	d.OnRevoke(func(p access.Principal) { end(p.Realm, p.User) })
}

// holder finds out who a principal is. efs.ErrNotFound for nobody.
func (n *Node) holder(p access.Principal, own string) (access.Holder, error) {
	h := access.Holder{User: p.User, Realm: p.Realm}
	users, err := n.Users(p.Realm)
	if err != nil {
		return h, err
	}
	created, ok := users.Created(p.User)
	if !ok {
		return h, fmt.Errorf("user %s: %w, or is revoked", p, efs.ErrNotFound)
	}
	if p.Realm == own {
		return h, nil
	}
	h.Created = created
	if f := (*n.open.Load())[p.Realm]; f != nil {
		h.RealmID = f.ID()
	}
	return h, nil
}

// Rights returns what a principal may do in a file system, and that file
// system. One that is not there, or not open, is answered like one in which
// nothing was granted: nil, and rights to nothing.
func (n *Node) Rights(p access.Principal, fs string) (*FileSystem, *access.Rights) {
	var h access.Holder
	var err error
	if p.Realm != fs {
		h, err = n.holder(p, fs) // whether or not there is such a file system
	}
	f := (*n.open.Load())[fs]
	var r *access.Rights
	switch {
	case f == nil || err != nil:
		return nil, nil
	case p.Realm == fs:
		r = f.Users.Rights(p.User)
	default:
		r = f.Users.RightsOf(h)
	}
	if r.None() {
		return nil, nil
	}
	return f, r
}

// KeyRights returns what a principal may do with master keys. Administrators
// of the server may do everything without holding a grant.
func (n *Node) KeyRights(p access.Principal) *access.Rights {
	v := n.secrets()
	if v == nil {
		return nil
	}
	h, err := n.holder(p, efs.ServerRealm)
	if err != nil {
		return nil
	}
	return v.realm.RightsOf(h)
}

// ManagesAny reports whether a principal manages some file system.
func (n *Node) ManagesAny(p access.Principal) bool {
	for name := range *n.open.Load() {
		if _, r := n.Rights(p, name); r.May(access.Manage, "") {
			return true
		}
	}
	return false
}

// granting returns the directory that keeps grants on a resource, and who the
// holder is in it.
func (n *Node) granting(p access.Principal, on access.Resource) (*access.Directory, access.Holder, error) {
	realm := on.FS
	if on.IsKey() {
		realm = efs.ServerRealm
	}
	d, err := n.Users(realm)
	if err != nil {
		return nil, access.Holder{}, err
	}
	h, err := n.holder(p, realm)
	return d, h, err
}

// Grant lets a principal do something with a path or a key; durable on return.
// Errors: efs.ErrNotFound (user, file system), efs.ErrBadInput, efs.ErrRefused
// for administrators of the server, who manage and never get at files.
func (n *Node) Grant(ctx context.Context, p access.Principal, on access.Resource, what access.Permissions) error {
	d, h, err := n.granting(p, on)
	if err != nil {
		return err
	}
	if p.Realm == efs.ServerRealm {
		if on.IsKey() {
			return fmt.Errorf("%s is an administrator of the server and may do everything with keys: %w", p, efs.ErrRefused)
		}
		return fmt.Errorf("%s is an administrator of the server, which is kept apart from access to files: create a user in %s: %w", p, on.FS, efs.ErrRefused)
	}
	if on.IsKey() {
		if _, err := n.DescribeKey(ctx, on.Provider, on.Key); err != nil {
			return err
		}
	}
	return d.Grant(ctx, h, on, what)
}

// RevokeGrant takes a grant away; what the holder was doing ends before it
// returns. Errors: efs.ErrNotFound, efs.ErrRefused where a wider grant permits
// the same.
func (n *Node) RevokeGrant(ctx context.Context, p access.Principal, on access.Resource, what access.Permissions) error {
	d, h, err := n.granting(p, on)
	if err != nil {
		return err
	}
	return d.RevokeGrant(ctx, h, on, what)
}

// OwnKey gives the maker of a new master key kms:admin of it. Administrators of
// the server need no grant.
func (n *Node) OwnKey(ctx context.Context, p access.Principal, provider, key string) error {
	if p.Realm == efs.ServerRealm {
		return nil
	}
	return n.Grant(ctx, p, access.Resource{Provider: provider, Key: key}, access.KMSAdmin)
}

// DropKeyGrants forgets all grants on a master key.
func (n *Node) DropKeyGrants(ctx context.Context, provider, key string) error {
	realm, err := n.Users(efs.ServerRealm)
	if err != nil {
		return err
	}
	on := access.Resource{Provider: provider, Key: key}.String()
	return realm.DropGrants(ctx, nil, func(o string) bool { return o == on })
}

// DeleteUser forgets a user of a realm: first the grants that the user holds
// elsewhere, then the user. efs.ErrNotFound.
func (n *Node) DeleteUser(ctx context.Context, realm, user string) error {
	d, err := n.Users(realm)
	if err != nil {
		return err
	}
	if _, err := d.GetUser(ctx, user); err != nil {
		return err
	}
	if err := n.dropElsewhere(ctx, realm, func(p access.Principal) bool { return p == access.Principal{User: user, Realm: realm} }); err != nil {
		return err
	}
	return d.DeleteUser(ctx, user)
}

// dropElsewhere forgets grants that users of a realm hold in other places. In
// a file system that is not open they stay, and count for nothing, since they
// are bound to the users as they were.
func (n *Node) dropElsewhere(ctx context.Context, realm string, match func(access.Principal) bool) error {
	var errs []error
	drop := func(d *access.Directory) {
		if d.FS() != realm {
			errs = append(errs, d.DropGrants(ctx, match, nil))
		}
	}
	for _, f := range n.FileSystems() {
		drop(f.Users)
	}
	if v := n.secrets(); v != nil {
		drop(v.realm)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("forgetting the grants of users of %s: %w", realm, err)
	}
	return nil
}
