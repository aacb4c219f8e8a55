package unarchive

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// Remove removes a path with all below it; "." everything. Removing what is not
// there is no error, nor is what lies behind a link: that is something else.
func (d *Dir) Remove(p string) error {
	if p != "." {
		name, err := filepath.Localize(p)
		if err != nil {
			return nil // it cannot be there
		}
		for up := filepath.Dir(name); up != "."; up = filepath.Dir(up) {
			if fi, err := d.root.Lstat(up); err != nil || !fi.IsDir() {
				return nil
			}
		}
		return d.removeAll(name)
	}
	all, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range all {
		if err := d.removeAll(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// removeAll removes name with all below it, also from directories that came out
// of an archive as ones that nobody may write to.
func (d *Dir) removeAll(name string) error {
	err := d.root.RemoveAll(name)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if up := filepath.Dir(name); up != "." {
		fi, err := d.root.Lstat(up)
		if err != nil {
			return err
		}
		if err := d.root.Chmod(up, fi.Mode()|0o700); err != nil {
			return err
		}
		defer func() { _ = d.root.Chmod(up, fi.Mode()) }() // as it could be set before
	}
	_ = fs.WalkDir(d.root.FS(), filepath.ToSlash(name), func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = d.root.Chmod(filepath.FromSlash(p), 0o700) // before it is read; where that fails, removing fails
		}
		return nil
	})
	return d.root.RemoveAll(name)
}
