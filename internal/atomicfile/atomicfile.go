// Package atomicfile writes small files so that after a crash a file is either
// the old one or the new one, whole.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Write replaces the file at path by data. When it returns nil, data and name
// survive a crash; when it returns an error, the old file is still there.
func Write(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, os.Rename)
}

// WriteNew is Write for a file that must not be there yet: an error that is
// fs.ErrExist if it is.
func WriteNew(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, renameNew)
}

// Remove deletes the file at path durably. Removing what is not there is no
// error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// MkdirAll makes a directory and its parents like os.MkdirAll, durably.
func MkdirAll(dir string, perm fs.FileMode) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

const tempMark = ".tmp-"

// CleanUp removes what writes cut off by a crash left in dir. Nothing may be
// writing there.
func CleanUp(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), tempMark) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func write(path string, data []byte, perm fs.FileMode, put func(temp, path string) error) error {
	dir, name := filepath.Split(path)
	temp := filepath.Join(dir, "."+name+tempMark+rand.Text())
	if err := writeSynced(temp, data, perm); err != nil {
		_ = os.Remove(temp)
		return err
	}
	if err := put(temp, path); err != nil {
		_ = os.Remove(temp)
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func writeSynced(path string, data []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
