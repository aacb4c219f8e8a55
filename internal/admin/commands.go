package admin

import (
	"context"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/node"
)

// Status tells how the server is; it answers in every state.
func (c *Client) Status(ctx context.Context) (node.Status, error) {
	return call[node.Status](ctx, c, opStatus, none{})
}

// CreateFS makes a file system, with what set, KEY=VALUE each, changes in the
// default policy.
func (c *Client) CreateFS(ctx context.Context, name string, set ...string) error {
	_, err := call[none](ctx, c, opCreateFS, SetPolicyRequest{FS: name, Set: set})
	return err
}

// DeleteFS destroys a file system with its keys.
func (c *Client) DeleteFS(ctx context.Context, name string) error {
	_, err := call[none](ctx, c, opDeleteFS, FSRequest{FS: name})
	return err
}

// ListFS describes all file systems, by name.
func (c *Client) ListFS(ctx context.Context) ([]node.FSStatus, error) {
	return call[[]node.FSStatus](ctx, c, opListFS, none{})
}

// CreateUser makes a user and a client certificate.
func (c *Client) CreateUser(ctx context.Context, r CreateUserRequest) (CreateUserResult, error) {
	return call[CreateUserResult](ctx, c, opCreateUser, r)
}

// ListUsers describes the users of a file system, by name.
func (c *Client) ListUsers(ctx context.Context, fs string) ([]access.User, error) {
	return call[[]access.User](ctx, c, opListUsers, FSRequest{FS: fs})
}

// DeleteUser forgets a user; the user's files stay.
func (c *Client) DeleteUser(ctx context.Context, fs, user string) error {
	_, err := call[none](ctx, c, opDeleteUser, UserRequest{FS: fs, User: user})
	return err
}

// Revoke shuts a user out: certificates, keys, sessions and connections.
func (c *Client) Revoke(ctx context.Context, fs, user string) error {
	_, err := call[none](ctx, c, opRevoke, UserRequest{FS: fs, User: user})
	return err
}

// AddKey lets a user sign with a further public key.
func (c *Client) AddKey(ctx context.Context, fs, user, key string) (Hashes, error) {
	return call[Hashes](ctx, c, opAddKey, KeyRequest{FS: fs, User: user, Key: key})
}

// RemoveKey takes the key with a fingerprint from a user.
func (c *Client) RemoveKey(ctx context.Context, fs, user, fingerprint string) error {
	_, err := call[none](ctx, c, opRemoveKey, KeyRequest{FS: fs, User: user, Fingerprint: fingerprint})
	return err
}

// Grant lets somebody do something; the result tells of grants that permit it
// already.
func (c *Client) Grant(ctx context.Context, r GrantRequest) (GrantResult, error) {
	return call[GrantResult](ctx, c, opGrant, r)
}

// RevokeGrant takes a grant away and ends what its holder is doing.
func (c *Client) RevokeGrant(ctx context.Context, r GrantRequest) (GrantResult, error) {
	return call[GrantResult](ctx, c, opRevokeGrant, r)
}

// ListGrants lists grants by file system and holder.
func (c *Client) ListGrants(ctx context.Context, r ListGrantsRequest) ([]GrantInfo, error) {
	return call[[]GrantInfo](ctx, c, opListGrants, r)
}

// Fsck checks a file system.
func (c *Client) Fsck(ctx context.Context, r FsckRequest) (fsys.FsckReport, error) {
	return call[fsys.FsckReport](ctx, c, opFsck, r)
}

// Resolve finds what an id from a log names; fs "" searches all file systems.
func (c *Client) Resolve(ctx context.Context, id efs.ID, fs string) ([]ResolveResult, error) {
	return call[[]ResolveResult](ctx, c, opResolve, ResolveRequest{ID: id, FS: fs})
}
