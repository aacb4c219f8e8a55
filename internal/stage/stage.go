// Package stage receives files so that they appear whole or not at all: they
// are written to a temporary name beside the target, synced, renamed, and the
// directory is synced. Small files that are at hand whole are atomicfile's.
package stage

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// prefix marks temporary files, so that people know what a left-over is and
// copies of a tree pass them by.
const prefix = ".efs-part-"

// Temporaries is the pattern that fits the names of files under way.
const Temporaries = prefix + "*"

// LeftOut tells people why n files of such names were not copied.
func LeftOut(n int) string {
	return fmt.Sprintf("%d left out: what has come of a download so far, or was left behind by one that was killed", n)
}

// IsTemporary reports whether name is one that this package gives to files
// under way.
func IsTemporary(name string) bool { return strings.HasPrefix(name, prefix) }

// File is a file under way. Exactly one of Commit and Abort ends it.
type File struct {
	*os.File
	dir       *os.Root
	ownsDir   bool
	temp, end string
	mode      fs.FileMode
	modified  time.Time
}

// Create begins a file at path, otherwise as CreateIn.
func Create(path string, mode fs.FileMode) (*File, error) {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	f, err := CreateIn(dir, filepath.Base(path), mode)
	if err != nil {
		_ = dir.Close() // nothing was written through it
		return nil, err
	}
	f.ownsDir = true
	return f, nil
}

// CreateIn begins a file name, a path below dir that cannot lead out of it,
// with permissions mode less the process's umask. Nobody else can read it
// before Commit.
func CreateIn(dir *os.Root, name string, mode fs.FileMode) (*File, error) {
	temp := filepath.Join(filepath.Dir(name), TemporaryName())
	f, err := dir.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode&0o600)
	if err != nil {
		return nil, err
	}
	return &File{File: f, dir: dir, temp: temp, end: name, mode: mode &^ umask()}, nil
}

// TemporaryName returns a name that IsTemporary knows, for what is not received
// through this package.
func TemporaryName() string { return prefix + rand.Text()[:16] }

// PartName returns the name, which IsTemporary knows, of something under way
// that is to be found again: tag tells what it is.
func PartName(tag string) string { return prefix + tag }

// Umask returns the process's umask.
func Umask() fs.FileMode { return umask() }

// SyncDir makes a rename in the directory name, a path below root, durable.
func SyncDir(root *os.Root, name string) error { return syncDir(root, name) }

// SetMode gives the file exactly these permissions when it is committed, the
// umask aside.
func (f *File) SetMode(mode fs.FileMode) { f.mode = mode }

// SetModified makes t the file's modification time when it is committed.
func (f *File) SetModified(t time.Time) { f.modified = t }

// Commit makes the file durable under its name, in place of what was there.
func (f *File) Commit() error {
	err := f.finish()
	if err != nil {
		f.Abort()
		return err
	}
	defer f.release()
	return syncDir(f.dir, filepath.Dir(f.end))
}

func (f *File) finish() error {
	if err := f.File.Chmod(f.mode); err != nil {
		return err
	}
	if !f.modified.IsZero() {
		if err := f.dir.Chtimes(f.temp, f.modified, f.modified); err != nil {
			return err
		}
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	if err := f.File.Close(); err != nil {
		return err
	}
	return f.dir.Rename(f.temp, f.end)
}

// Abort removes what was written.
func (f *File) Abort() {
	_ = f.File.Close()       // may be closed already
	_ = f.dir.Remove(f.temp) // best effort: what is left has a name that tells what it is
	f.release()
}

func (f *File) release() {
	if f.ownsDir {
		_ = f.dir.Close() // read-only handle
	}
}
