package admin

import (
	"context"
	"time"

	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/node"
)

// BackupKeysRequest asks for a sealed copy of keys.db in a file, named as the
// server sees it.
type BackupKeysRequest struct {
	Path    string        `json:"path"`
	Expires time.Duration `json:"expires"` // after it is made, nanoseconds
}

// PathRequest names a file as the server sees it.
type PathRequest struct {
	Path string `json:"path"`
}

func backupKeys(ctx context.Context, s *Server, _ *stream, r BackupKeysRequest) (any, error) {
	return s.node.BackupKeys(ctx, r.Path, r.Expires)
}

func restoreKeys(ctx context.Context, s *Server, _ *stream, r PathRequest) (any, error) {
	return s.node.RestoreKeys(ctx, r.Path)
}

func keyCopies(_ context.Context, s *Server, _ *stream, _ none) (any, error) {
	return s.node.KeyCopies()
}

func rotateJWT(ctx context.Context, s *Server, _ *stream, _ none) (any, error) {
	return none{}, s.node.RotateJWT(ctx)
}

// RotateCARequest asks for another authority: for the client certificates of
// a file system or of efs.ServerRealm, or for the server's own certificate.
type RotateCARequest struct {
	FS      string        `json:"fs,omitempty"` // "": the server's own
	Overlap time.Duration `json:"overlap,omitempty"`
}

func rotateCA(ctx context.Context, s *Server, _ *stream, r RotateCARequest) (any, error) {
	if r.FS == "" {
		return s.node.RotateServerCA(ctx, r.Overlap)
	}
	return s.node.RotateCA(ctx, r.FS)
}

// RotateCA makes another certificate authority.
func (c *Client) RotateCA(ctx context.Context, r RotateCARequest) (node.CARotation, error) {
	return call[node.CARotation](ctx, c, opRotateCA, r)
}

// BackupKeys has the server write a sealed copy of keys.db.
func (c *Client) BackupKeys(ctx context.Context, r BackupKeysRequest) (keyring.Copy, error) {
	return call[keyring.Copy](ctx, c, opBackupKeys, r)
}

// RestoreKeys takes lost keys from a copy of keys.db.
func (c *Client) RestoreKeys(ctx context.Context, path string) (node.KeysRestored, error) {
	return call[node.KeysRestored](ctx, c, opRestoreKeys, PathRequest{path})
}

// KeyCopies tells of the copies of keys.db that have not expired.
func (c *Client) KeyCopies(ctx context.Context) ([]keyring.Copy, error) {
	return call[[]keyring.Copy](ctx, c, opKeyCopies, none{})
}

// RotateJWT makes another key sign session tokens.
func (c *Client) RotateJWT(ctx context.Context) error {
	_, err := call[none](ctx, c, opRotateJWT, none{})
	return err
}
