package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/starter"
)

// pendingKeys is a backup of keys that a root begins with, until it is opened.
const pendingKeys = "begin.keys"

func (c *Config) pendingKeysPath() string { return filepath.Join(c.serverDir(), pendingKeys) }

// InitFrom begins an empty root with a backup of the keys of another, which is
// lost: its secrets and its key store, so that it is that root again once its
// starter key has opened it. The node is sealed on return; the file systems'
// contents are brought back by Restore. What a crash cuts off, the next start
// goes on with. Errors: efs.ErrExists (the root is initialised), efs.ErrBadInput
// (no such backup), efs.ErrDamaged.
func (n *Node) InitFrom(_ context.Context, path string) error {
	n.admin.Lock()
	defer n.admin.Unlock()
	if n.State() != StateWaiting {
		return fmt.Errorf("the starter key of this root %w: a root that begins with a backup of keys must be empty, and its server started without a starter key", efs.ErrExists)
	}
	if err := readable(path); err != nil {
		return fmt.Errorf("beginning with the keys in %s: %w", path, err)
	}
	if err := copySynced(n.cfg.pendingKeysPath(), path); err != nil {
		return fmt.Errorf("beginning with the keys in %s: %w", path, err)
	}
	if err := n.cfg.beginWithKeys(); err != nil {
		return err
	}
	n.setState(StateSealed)
	n.log.Info("the root begins with a backup of keys; open it with its starter key", "do", "efsctl unseal")
	return nil
}

// readable is nil if a file begins as a backup of keys does.
func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	part, _, err := keyring.ServerPart(f)
	if err == nil && part == nil {
		err = fmt.Errorf("%w: it does not hold the server's secrets, as those that efsctl backup-keys writes do: put a copy of %s in its place instead", efs.ErrBadInput, serverDir)
	}
	if err == nil { // once it lies ready, nothing else can be begun with
		err = starter.CheckExported(part)
	}
	return err
}

// beginWithKeys makes the Box of a backup of keys that lies ready, unless it
// was made.
func (c *Config) beginWithKeys() error {
	f, err := os.Open(c.pendingKeysPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	part, _, err := keyring.ServerPart(f)
	if err == nil {
		err = starter.Unpack(c.serverDir(), part)
	}
	if err != nil {
		return fmt.Errorf("beginning with a backup of keys: %w", err)
	}
	return nil
}

// takePendingKeys makes the key store of a backup of keys that lies ready, and
// removes the backup. efs.ErrRefused if that has expired.
func (n *Node) takePendingKeys(box *starter.Box) error {
	pending, store := n.cfg.pendingKeysPath(), n.cfg.keysPath()
	f, err := os.Open(pending)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	if _, err := os.Lstat(store); errors.Is(err, fs.ErrNotExist) {
		if err := n.unpackKeys(box, f, store); err != nil {
			return fmt.Errorf("%w (the backup lies in %s; without it the root begins with no keys)", err, pending)
		}
	}
	return atomicfile.Remove(pending)
}

func (n *Node) unpackKeys(box *starter.Box, from io.Reader, store string) error {
	key, err := openBackupKey(box)
	if err != nil {
		return err
	}
	defer key.Destroy()
	temp := store + ".begin"
	c, err := keyring.Unpack(temp, from, box.RootID(), key, func() int64 { return n.clock().UnixMicro() })
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err = syncFile(temp); err == nil {
		err = os.Rename(temp, store)
	}
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(store))
	}
	if err == nil {
		n.log.Warn("the key store is that of a backup: what was destroyed after it was made may be in it", "copy", c.ID, "made", c.Created)
	}
	return err
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// copySynced copies a file, durably, whole or not at all.
func copySynced(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // only read
	temp := to + ".part"
	dst, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err == nil {
		err = os.Rename(temp, to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return atomicfile.SyncDir(filepath.Dir(to))
}
