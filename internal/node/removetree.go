package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/efs-project/efs"
)

// removeTree removes a directory with all below it, until ctx ends. It follows
// no symbolic link, nor one that somebody who can write the volume puts in a
// directory's place meanwhile: it goes down by open directories, not by paths.
func removeTree(ctx context.Context, path string) error {
	parent, err := os.OpenRoot(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	return removeIn(ctx, parent, filepath.Base(path))
}

// removeIn removes what is called name in dir.
func removeIn(ctx context.Context, dir *os.Root, name string) error {
	err := dir.Remove(name)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	info, statErr := dir.Lstat(name)
	if statErr != nil || !info.IsDir() {
		return errors.Join(err, statErr)
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	if opened, err := sub.Stat("."); err != nil || !os.SameFile(info, opened) {
		return errors.Join(err, fmt.Errorf("'%s' was replaced while it was being removed: %w", filepath.Join(dir.Name(), name), efs.ErrDamaged))
	}
	for {
		removed, err := removeEntries(ctx, sub)
		if err != nil {
			return err
		}
		// A volume may leave out names while others are being removed.
		if err := dir.Remove(name); err == nil || removed == 0 {
			return err
		}
	}
}

// removeEntries removes what a directory holds, as far as one reading of it
// shows.
func removeEntries(ctx context.Context, dir *os.Root) (removed int, err error) {
	d, err := dir.Open(".")
	if err != nil {
		return 0, err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		for _, name := range names {
			if ctx.Err() != nil {
				return removed, ctx.Err()
			}
			if err := removeIn(ctx, dir, name); err != nil {
				return removed, err
			}
			removed++
		}
		if errors.Is(err, io.EOF) {
			return removed, nil
		}
		if err != nil {
			return removed, err
		}
	}
}
