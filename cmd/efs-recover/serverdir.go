package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/starter"
)

// serverDir settles where the server's directory is. Where there is none, the
// one in a backup of keys is laid out in a directory of its own, which done
// removes: all in it is as sealed as it was in the backup.
func (o *options) serverDir() (done func() error, err error) {
	done = func() error { return nil }
	somewhere := o.place.Server != "" || o.place.Root != ""
	if o.place.Server == "" {
		o.place.Server = filepath.Join(o.place.Root, ".server")
	}
	if o.keyBackup == "" {
		return done, nil
	}
	if somewhere {
		if initialised, err := starter.BoxState(o.place.Server); err != nil || initialised {
			return done, err
		}
	}
	dir, err := os.MkdirTemp(o.run.Scratch, "efs-recover-")
	if err != nil {
		return done, err
	}
	done = func() error { return os.RemoveAll(dir) }
	if err := unpackServer(dir, o.keyBackup); err != nil {
		return done, errors.Join(err, done())
	}
	o.place.Server = dir
	return done, nil
}

func unpackServer(dir, keyBackup string) error {
	f, err := os.Open(keyBackup)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	part, _, err := keyring.ServerPart(f)
	if err == nil && part == nil {
		err = fmt.Errorf("%w: it does not hold the server's secrets: name a directory that does with --server", efs.ErrBadInput)
	}
	if err == nil {
		err = starter.Unpack(dir, part)
	}
	if err != nil {
		return fmt.Errorf("backup of keys '%s': %w", keyBackup, err)
	}
	return nil
}
