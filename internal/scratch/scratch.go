// Package scratch makes files that go when they are closed, or when the
// process ends: for copies of what is sealed that must not stay anywhere.
package scratch

import (
	"fmt"
	"os"
	"path/filepath"
)

// File returns an empty file of mode 0600 in dir ("": where temporary files
// lie). done closes and removes it; where the system allows it, the file has
// no name from the beginning on.
func File(dir string) (f *os.File, done func() error, err error) {
	if f, err = os.CreateTemp(dir, "efs-*.scratch"); err != nil {
		return nil, nil, fmt.Errorf("making a temporary file: %w", err)
	}
	path, err := filepath.Abs(f.Name())
	if err == nil && unlinkOpen {
		err = os.Remove(path)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("making a temporary file: %w", err)
	}
	return f, func() error {
		err := f.Close()
		if !unlinkOpen {
			return os.Remove(path)
		}
		return ignoreClosed(err)
	}, nil
}

// Memory is File, but in memory alone where the system has such files (Linux).
func Memory() (f *os.File, done func() error, err error) {
	if f, err = memory(); err != nil {
		return File("")
	}
	return f, func() error { return ignoreClosed(f.Close()) }, nil
}
