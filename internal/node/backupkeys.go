package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/session"
	"github.com/efs-project/efs/internal/starter"
)

// The limits of how long a backup of keys can be used.
const (
	DefaultBackupLife = 90 * 24 * time.Hour
	MaxBackupLife     = 10 * 365 * 24 * time.Hour
)

var makingBackupKey sync.Mutex // two first backups at once have the same key

// openBackupKey returns the key of the Box, made when it is first needed. Its
// secret is an id, then the key.
func openBackupKey(box *starter.Box) (k keyring.BackupKey, err error) {
	makingBackupKey.Lock()
	defer makingBackupKey.Unlock()
	b, err := box.Get(keyring.BackupKeyName)
	if errors.Is(err, efs.ErrNotFound) {
		id := efs.NewID()
		b = append(id[:], session.NewKey()...)
		err = box.Put(keyring.BackupKeyName, b)
	}
	defer secret.Wipe(b)
	if err != nil {
		return k, fmt.Errorf("the key that seals backups of keys: %w", err)
	}
	return keyring.NewBackupKey(b)
}

// BackupKeys writes a sealed, consistent copy of keys.db to the file at path,
// with the server's own secrets, sealed as they are under the starter key. It must not exist. After life nothing restores it. Durable on return.
func (n *Node) BackupKeys(_ context.Context, path string, life time.Duration) (c keyring.Copy, err error) {
	if err := n.Serving(); err != nil {
		return c, err
	}
	if life <= 0 || life > MaxBackupLife {
		return c, fmt.Errorf("%w: a backup of keys can be used for at most %d days", efs.ErrBadInput, MaxBackupLife/(24*time.Hour))
	}
	v := n.secrets()
	key, err := openBackupKey(v.box)
	if err != nil {
		return c, err
	}
	defer key.Destroy()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return c, fmt.Errorf("%s %w: give another name, nothing is overwritten", path, efs.ErrExists)
	}
	if err != nil {
		return c, fmt.Errorf("backing the key store up: %w", err)
	}
	out := bufio.NewWriterSize(f, 1<<20)
	server, err := v.box.Export()
	if err == nil {
		c, err = v.ring.BackupWith(out, v.box.RootID(), key, n.clock().Add(life), server)
	}
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = atomicfile.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return c, errors.Join(fmt.Errorf("backing the key store up: %w", err), os.Remove(path))
	}
	n.log.Info("keys backed up", "copy", c.ID, "expires", c.Expires)
	return c, nil
}

// KeysRestored tells what RestoreKeys did, by names of file systems.
type KeysRestored struct {
	Copy     keyring.Copy `json:"copy"`
	Restored []string     `json:"restored"` // whose keys came from the backup
	Kept     []string     `json:"kept"`     // whose keys are here and good
	Missing  []string     `json:"missing"`  // of which neither has usable keys
}

// RestoreKeys takes from the backup at path the keys of those file systems
// that have no usable keys here, and opens them. Of deleted file systems, of
// forgotten units and destroyed epochs nothing comes back, as far as the
// present keys.db knows of them. efs.ErrRefused if the backup has expired.
func (n *Node) RestoreKeys(ctx context.Context, path string) (KeysRestored, error) {
	n.admin.Lock()
	defer n.admin.Unlock()
	if err := n.Serving(); err != nil {
		return KeysRestored{}, err
	}
	v := n.secrets()
	key, err := openBackupKey(v.box)
	if err != nil {
		return KeysRestored{}, err
	}
	defer key.Destroy()
	f, err := os.Open(path)
	if err != nil {
		return KeysRestored{}, fmt.Errorf("restoring keys: %w", err)
	}
	defer func() { _ = f.Close() }()
	records := map[efs.ID]fsRecord{}
	var ids []efs.ID
	for _, rec := range v.registry.all() {
		if rec.Phase == phaseReady {
			records[rec.ID] = rec
			ids = append(ids, rec.ID)
		}
	}
	done, err := v.ring.Restore(ctx, bufio.NewReaderSize(f, 1<<20), v.box.RootID(), key, ids)
	if err != nil {
		return KeysRestored{}, err
	}
	named := func(ids []efs.ID) (names []string) {
		for _, id := range ids {
			names = append(names, records[id].Name)
		}
		return names
	}
	out := KeysRestored{done.Copy, named(done.Restored), named(done.Kept), named(done.Missing)}
	n.log.Info("keys restored", "copy", out.Copy.ID, "made", out.Copy.Created, "restored", out.Restored, "missing", out.Missing)
	return out, n.openRestored(ctx, done.Restored, records)
}

// openRestored opens file systems that had no keys. Called with admin held.
func (n *Node) openRestored(ctx context.Context, ids []efs.ID, records map[efs.ID]fsRecord) error {
	var errs []error
	for _, id := range ids {
		rec := records[id]
		if (*n.open.Load())[rec.Name] != nil {
			continue
		}
		if err := n.openLate(ctx, rec); err != nil {
			errs = append(errs, fmt.Errorf("its keys are back, but file system %s does not open: %w", rec.Name, err))
		}
	}
	return errors.Join(errs...)
}

// KeyCopies tells of the backups of keys.db that have not expired.
func (n *Node) KeyCopies() ([]keyring.Copy, error) {
	if err := n.Serving(); err != nil {
		return nil, err
	}
	return n.secrets().ring.Copies()
}

// RotateJWT makes another key sign session tokens. Sessions go on: the key
// before is off the disk, and verifies from memory until the tokens that it
// signed have expired.
func (n *Node) RotateJWT(context.Context) error {
	n.admin.Lock()
	defer n.admin.Unlock()
	if err := n.Serving(); err != nil {
		return err
	}
	v := n.secrets()
	key := session.NewKey()
	defer secret.Wipe(key)
	err := v.box.Replace(sessionKeyName, key)
	if err != nil && !errors.Is(err, starter.ErrNotErased) {
		return fmt.Errorf("rotating the key that signs sessions: %w", err)
	}
	if rerr := v.sessions.Rotate(key); rerr != nil {
		return fmt.Errorf("rotating the key that signs sessions: %w", rerr)
	}
	n.log.Info("the key that signs sessions was rotated")
	return err
}
