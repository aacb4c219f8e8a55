package keyring

import (
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// BackupKeyName is the name of the server secret that backups of the key store
// are sealed under: an id, 16 bytes, then the key. It outlives a rotation of
// the starter key.
const BackupKeyName = "keys-backup"

// BackupKey is the seal.KEK of backups of the key store.
type BackupKey struct {
	id  [16]byte
	key *secret.Key
}

// NewBackupKey takes the server secret, which the caller wipes. efs.ErrDamaged.
func NewBackupKey(b []byte) (k BackupKey, err error) {
	if len(b) != len(k.id)+secret.Size {
		return k, fmt.Errorf("the key that seals backups of keys: %w", efs.ErrDamaged)
	}
	copy(k.id[:], b)
	k.key, err = secret.NewKey(append(make([]byte, 0, secret.Size), b[len(k.id):]...))
	return k, err
}

// ID names the key in the slot of a backup.
func (k BackupKey) ID() [16]byte { return k.id }

// Derive is HKDF-SHA256 of the key.
func (k BackupKey) Derive(salt, info []byte) ([]byte, error) { return k.key.Derive(salt, info) }

// Destroy wipes the key.
func (k BackupKey) Destroy() { k.key.Destroy() }
