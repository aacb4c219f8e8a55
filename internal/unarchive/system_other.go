//go:build !linux

package unarchive

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/efs-project/efs/internal/archive"
)

// setAttributes keeps nothing: extended attributes are written on Linux alone.
func setAttributes(*os.File, *archive.Member) (kept bool, err error) { return false, nil }

// linkTime leaves a symbolic link the time of its making.
func linkTime(*os.Root, string, time.Time) error { return nil }

// syncAll makes every file below root durable.
func syncAll(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := root.OpenFile(name, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrPermission) {
			return nil // it can be read only, and was written just now
		}
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
