package starter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs/internal/atomicfile"
)

// ErrNotErased says that a secret was stored, durably, but that the file which
// held it before could not be overwritten. The next Replace, or the next
// start, tries again.
var ErrNotErased = errors.New("the replaced file was not overwritten")

const oldSuffix = boxSuffix + ".old"

// Replace is Put for secrets that hold what may have to be destroyed: the file
// that it replaces is overwritten, also after a crash in between. Overwriting
// reaches the blocks only on volumes that write in place. ErrNotErased.
func (b *Box) Replace(name string, value []byte) error {
	if b.readOnly {
		return errReadOnly
	}
	b.replacing.Lock()
	defer b.replacing.Unlock()
	path, _, err := b.place(name)
	if err != nil {
		return err
	}
	if err := discard(path); err != nil {
		return fmt.Errorf("storing server secret %s: %w", name, err)
	}
	// The open file reaches the old blocks where a volume has no links; the
	// link reaches them after a crash.
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return b.Put(name, value)
	}
	if err != nil {
		return fmt.Errorf("storing server secret %s: %w", name, err)
	}
	_ = os.Link(path, beside(path))
	if err := b.Put(name, value); err != nil {
		_ = os.Remove(beside(path))
		return errors.Join(err, old.Close())
	}
	if err := errors.Join(overwrite(old), old.Close()); err != nil {
		return fmt.Errorf("server secret %s: %w: %w", name, ErrNotErased, err)
	}
	if err := atomicfile.Remove(beside(path)); err != nil {
		return fmt.Errorf("server secret %s: %w: %w", name, ErrNotErased, err)
	}
	return nil
}

// beside is where the file at path is reached while it is being replaced.
func beside(path string) string {
	dir, name := filepath.Split(path)
	return filepath.Join(dir, "."+name+".old")
}

// discardOld overwrites and removes what a Replace that was cut off left.
func discardOld(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), oldSuffix); ok && strings.HasPrefix(name, ".") {
			if err := discard(filepath.Join(dir, name[1:]+boxSuffix)); err != nil {
				return err
			}
		}
	}
	return nil
}

// discard removes the old file of path, overwritten first unless it is still
// the one in use.
func discard(path string) error {
	oldInfo, err := os.Lstat(beside(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not by a Replace: this may be the last copy that there is
	}
	if err != nil {
		return err
	}
	if oldInfo.Mode().IsRegular() && !os.SameFile(info, oldInfo) {
		f, err := os.OpenFile(beside(path), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(overwrite(f), f.Close()); err != nil {
			return err
		}
	}
	return atomicfile.Remove(beside(path))
}

// overwrite puts zeros in place of all that f holds, durably. Secrets are
// small.
func overwrite(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(make([]byte, info.Size()), 0); err != nil {
		return err
	}
	return f.Sync()
}
