package salvage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
	"github.com/efs-project/efs/seal"
)

// Credentials open the keys. Starter (or Recovery) is needed.
type Credentials struct {
	Starter   *secret.Key   // of the root; OpenKeys owns it
	Recovery  seal.Identity // the private half of the recovery recipient
	KeyBackup string        // file of efsctl backup-keys, in place of keys.db
}

// Keys are the keys of one file system, opened without a server.
type Keys struct {
	*keyring.Keys
	ID    efs.ID
	Notes []string // what is worth knowing of where they came from

	ring   *keyring.Keyring
	closes []func() error
}

// Close wipes them.
func (k *Keys) Close() error {
	var errs []error
	for i := len(k.closes) - 1; i >= 0; i-- {
		errs = append(errs, k.closes[i]())
	}
	return errors.Join(errs...)
}

// OpenKeys opens the keys of the file system at p. Errors tell what is
// missing, and never anything of a key.
func OpenKeys(ctx context.Context, p Place, c Credentials) (*Keys, error) {
	p = p.complete()
	k := &Keys{}
	if err := k.open(ctx, p, c); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

func (k *Keys) open(ctx context.Context, p Place, c Credentials) error {
	box, kms, err := k.secrets(p, c)
	if err != nil {
		return err
	}
	// It asks no KMS that could end a key: one unwrapping has to do for all.
	opts := keyring.Options{Recovery: c.Recovery, KeyTTL: 1000 * time.Hour, Logger: slog.New(slog.DiscardHandler)}
	switch {
	case c.KeyBackup != "":
		err = k.fromBackup(p, c.KeyBackup, box, kms, opts)
	case exists(p.Keys):
		if k.ring, err = keyring.OpenCopy(p.Keys, kms, opts); err == nil {
			k.ID, err = k.ring.Find(p.Name)
		}
	default:
		k.note("there is no %s: the copies of keys in %s are used, which have none of erasure units", p.Keys, p.System)
		k.ring, k.ID, err = keyring.OpenExports(ctx, p.System, kms, opts)
	}
	if k.ring != nil {
		k.closes = append(k.closes, k.ring.Close)
	}
	if err == nil {
		k.Keys, err = k.ring.Keys(ctx, k.ID)
	}
	if err != nil && c.Recovery == nil {
		return fmt.Errorf("%w (keys that another KMS wraps open with the private half of the recovery recipient: --recovery-key)", err)
	}
	return err
}

func (k *Keys) note(format string, args ...any) {
	k.Notes = append(k.Notes, fmt.Sprintf(format, args...))
}

// secrets opens the server's secrets and its local KMS, where there is a
// starter key.
func (k *Keys) secrets(p Place, c Credentials) (*starter.Box, map[string]efs.KMS, error) {
	if c.Starter == nil {
		if c.Recovery == nil {
			return nil, nil, fmt.Errorf("%w: give the starter key, or the private half of the recovery recipient", efs.ErrBadInput)
		}
		return nil, nil, nil
	}
	box, err := starter.OpenBoxReadOnly(p.Server, c.Starter)
	if err != nil {
		c.Starter.Destroy()
		return nil, nil, err
	}
	k.closes = append(k.closes, func() error { box.Close(); return nil })
	kms, err := local.OpenWith(box, local.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	k.closes = append(k.closes, func() error { kms.Close(); return nil })
	return box, map[string]efs.KMS{local.Name: kms}, nil
}

func (k *Keys) fromBackup(p Place, path string, box *starter.Box, kms map[string]efs.KMS, opts keyring.Options) error {
	if box == nil {
		return fmt.Errorf("%w: a backup of keys opens with the starter key of its root", efs.ErrBadInput)
	}
	b, err := box.Get(keyring.BackupKeyName)
	if err != nil {
		return fmt.Errorf("the key that seals backups of keys: %w", err)
	}
	defer secret.Wipe(b)
	kek, err := keyring.NewBackupKey(b)
	if err != nil {
		return err
	}
	defer kek.Destroy()
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	var about keyring.Copy
	if k.ring, about, err = keyring.OpenBackup(bufio.NewReaderSize(f, 1<<20), box.RootID(), kek, kms, opts); err != nil {
		return err
	}
	k.note("the keys are those of %s: what was made later does not open", about.Created.Format(time.DateTime))
	k.ID, err = k.ring.Find(p.Name)
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// StarterFromShares puts the starter key of the root together from files that
// hold a share each.
func StarterFromShares(server string, files []string) (*secret.Key, error) {
	g := starter.NewGathering(server)
	defer g.Reset()
	have, need := 0, 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var key *secret.Key
		have, need, key, err = g.Add(bytes.TrimSpace(text))
		secret.Wipe(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if key != nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%w: %d shares are needed, these are %d", efs.ErrBadInput, need, have)
}
