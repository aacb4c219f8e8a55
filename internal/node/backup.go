package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/backup"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/journal"
	"github.com/efs-project/efs/internal/secret"
)

// BackupResult tells what Backup did.
type BackupResult struct {
	backup.Manifest
	Pruned *backup.Pruned `json:"pruned,omitempty"`
}

// Backup makes a backup of a file system, as of one change while clients go on
// writing, in the directory dir, which it makes where its last name is missing;
// then it removes all but the newest keep backups there (0, or where contents
// were missing: none is removed).
// progress, which may be nil, is told bytes of contents. Errors: efs.ErrBadInput,
// efs.ErrNotFound, efs.ErrConflict (backups of another file system),
// efs.ErrUnavailable (in use), efs.ErrNoSpace.
func (n *Node) Backup(ctx context.Context, name, dir string, keep int, progress func(done, total int64)) (out BackupResult, err error) {
	ctx, cancel := n.untilClosed(ctx)
	defer cancel()
	f, err := n.FS(name)
	if err != nil {
		return out, err
	}
	if keep < 0 {
		return out, fmt.Errorf("%w: at least one backup is kept", efs.ErrBadInput)
	}
	if err := n.outsideRoot(dir); err != nil {
		return out, err
	}
	repo, err := backup.Create(dir, backup.About{FS: f.ID(), Name: f.Name(), Created: n.clock().UTC()})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	view, err := f.Snapshot(ctx, "backup")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if out.Manifest, err = f.backUp(ctx, n, repo, view, false, progress); err != nil {
		return out, err
	}
	if err := f.NoteBackup(ctx, out.Begun, out.Sequence); err != nil {
		return out, err
	}
	if keep > 0 && out.Lost == 0 { // else older ones may have what is missing
		pruned, err := repo.Prune(ctx, keep)
		if err != nil {
			return out, fmt.Errorf("the backup is made, but older ones were not all removed: %w", err)
		}
		out.Pruned = &pruned
	}
	n.log.Info("file system backed up", "fs", name, "sequence", out.Sequence, "contents", out.Contents, "copied", out.Copied, "lost", out.Lost)
	return out, nil
}

// backUp makes a backup of a view.
func (f *FileSystem) backUp(ctx context.Context, n *Node, repo *backup.Repository, view *fsys.View, link bool, progress func(done, total int64)) (backup.Manifest, error) {
	key, err := f.parts.keys.Root(journal.Purpose)
	if err != nil {
		return backup.Manifest{}, err
	}
	defer secret.Wipe(key)
	return repo.Make(ctx, backup.Job{Source: view, Blobs: f.parts.blobs, Key: key, Link: link, Now: n.clock, Progress: progress})
}

// Backups lists the backups in a directory, oldest first.
func (n *Node) Backups(_ context.Context, dir string) ([]backup.Manifest, error) {
	return backup.List(dir)
}

// untilClosed returns a context that ends with ctx, and with the node.
func (n *Node) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(n.ctx, func() { cancel(fmt.Errorf("the server is stopping: %w", efs.ErrUnavailable)) })
	return ctx, func() { stop(); cancel(nil) }
}

// outsideRoot refuses a directory that lies with what is backed up: on the same
// volume it would be lost with it, and the server's own directories are not for
// anything else.
func (n *Node) outsideRoot(dir string) error {
	if strings.Contains(dir, "://") {
		return fmt.Errorf("%w: '%s': backups are made in directories that the server can reach; mount the target", efs.ErrUnsupported, dir)
	}
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("%w: '%s' is no absolute path", efs.ErrBadInput, dir)
	}
	real, err := realPath(dir)
	if err != nil {
		return err
	}
	for _, base := range []string{n.cfg.Root, n.cfg.Storage.System, n.cfg.Storage.Keys, n.cfg.Storage.Index, n.cfg.Storage.Files} {
		if base == "" {
			continue
		}
		own, err := realPath(base)
		if err != nil {
			return err
		}
		if rel, err := filepath.Rel(own, real); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return fmt.Errorf("%w: '%s' lies below '%s', which it would be lost with: give a directory on another volume", efs.ErrBadInput, dir, base)
		}
	}
	return nil
}

// realPath resolves links of a path whose last name may be missing.
func realPath(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		parent, perr := filepath.EvalSymlinks(filepath.Dir(path))
		if perr != nil {
			return "", fmt.Errorf("the directory above '%s': %w: make it first", path, efs.ErrNotFound)
		}
		return filepath.Join(parent, filepath.Base(path)), nil
	}
	return real, err
}
