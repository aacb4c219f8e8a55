package admin

import (
	"context"

	"github.com/efs-project/efs/internal/backup"
	"github.com/efs-project/efs/internal/node"
)

// BackupRequest asks for a backup of a file system in a directory, named as the
// server sees it.
type BackupRequest struct {
	FS   string `json:"fs"`
	Dir  string `json:"dir"`
	Keep int    `json:"keep,omitempty"` // newest ones that stay; 0: all
}

// RestoreRequest asks for a file system to be brought back.
type RestoreRequest struct {
	Dir    string `json:"dir"`
	Backup string `json:"backup,omitempty"` // "": the newest
	Verify bool   `json:"verify,omitempty"` // read every content whole
}

// DrillRequest asks for a restore that is compared and thrown away.
type DrillRequest struct {
	FS  string `json:"fs"`
	Dir string `json:"dir,omitempty"` // "": a backup is made for it
}

// DirRequest names a directory as the server sees it.
type DirRequest struct {
	Dir string `json:"dir"`
}

func makeBackup(ctx context.Context, s *Server, out *stream, r BackupRequest) (any, error) {
	return s.node.Backup(ctx, r.FS, r.Dir, r.Keep, out.progress)
}

func listBackups(ctx context.Context, s *Server, _ *stream, r DirRequest) (any, error) {
	return s.node.Backups(ctx, r.Dir)
}

func restore(ctx context.Context, s *Server, out *stream, r RestoreRequest) (any, error) {
	return s.node.Restore(ctx, r.Dir, r.Backup, r.Verify, out.line, out.progress)
}

func drill(ctx context.Context, s *Server, out *stream, r DrillRequest) (any, error) {
	return s.node.Drill(ctx, r.FS, r.Dir, out.progress)
}

// Backup has the server back a file system up.
func (c *Client) Backup(ctx context.Context, r BackupRequest) (node.BackupResult, error) {
	return call[node.BackupResult](ctx, c, opBackup, r)
}

// ListBackups lists the backups in a directory, oldest first.
func (c *Client) ListBackups(ctx context.Context, dir string) ([]backup.Manifest, error) {
	return call[[]backup.Manifest](ctx, c, opListBackups, DirRequest{dir})
}

// Restore has the server bring a file system back.
func (c *Client) Restore(ctx context.Context, r RestoreRequest) (node.RestoreResult, error) {
	return call[node.RestoreResult](ctx, c, opRestore, r)
}

// Drill has the server restore a file system apart, and compare.
func (c *Client) Drill(ctx context.Context, r DrillRequest) (node.DrillReport, error) {
	return call[node.DrillReport](ctx, c, opDrill, r)
}
