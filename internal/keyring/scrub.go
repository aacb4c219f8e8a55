package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/efs-project/efs/internal/atomicfile"
	bolt "go.etcd.io/bbolt"
)

// scrub rewrites the file without its free pages and overwrites the old one.
// Overwriting reaches the blocks only on volumes that write in place; docs
// say so. After an error the store is in use as it was, and the mark that
// something is left to be destroyed stays.
func (s *store) scrub() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return errClosed
	}
	if err := s.discard(); err != nil { // what one that failed left
		return fmt.Errorf("clearing up beside %s: %w", s.path, err)
	}
	if err := s.rewrite(); err != nil {
		return fmt.Errorf("rewriting %s: %w", s.path, err)
	}
	if err := s.db.Close(); err != nil {
		return err
	}
	failed := s.exchange()
	// The old file or the new one: both have all that is alive.
	var err error
	s.db, err = openBolt(s.path)
	if err = errors.Join(failed, err); err != nil {
		return fmt.Errorf("exchanging %s: %w", s.path, err)
	}
	return s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete(metaScrub) })
}

// finishScrub rewrites the file if something destroyed may still lie in it.
func (s *store) finishScrub() error {
	due := false
	err := s.view(func(tx *bolt.Tx) error {
		due = tx.Bucket(bucketMeta).Get(metaScrub) != nil
		return nil
	})
	if err != nil || !due {
		return err
	}
	return s.scrub()
}

func (s *store) beside(suffix string) string {
	return filepath.Join(filepath.Dir(s.path), "."+filepath.Base(s.path)+suffix)
}

// rewrite copies what is alive into a new file beside.
func (s *store) rewrite() (err error) {
	defer guard(s.path, &err)()
	fresh, err := openBolt(s.beside(".new"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fresh.Close()) }()
	return bolt.Compact(fresh, s.db, 0)
}

// exchange puts the new file in place and destroys the old one.
func (s *store) exchange() error {
	if err := os.Link(s.path, s.beside(".old")); err != nil {
		return err
	}
	if err := os.Rename(s.beside(".new"), s.path); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(filepath.Dir(s.path)); err != nil {
		return err
	}
	return s.discard()
}

// discard removes what an exchange leaves, or one that was cut off: a new file
// that never came into place, and the old one, overwritten first unless it is
// still the one in use.
func (s *store) discard() error {
	if err := removeOverwritten(s.beside(".new")); err != nil {
		return err
	}
	old := s.beside(".old")
	oldInfo, err := os.Stat(old)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(s.path); err != nil || !os.SameFile(info, oldInfo) {
		if err := overwrite(old); err != nil {
			return err
		}
	}
	return atomicfile.Remove(old)
}

// restoreSuffix marks the file that a backup is opened in. One that a crash left
// is destroyed when the store is opened.
const restoreSuffix = ".restore"

// removeOverwritten overwrites a file and removes it, durably; that it is not
// there is no error.
func removeOverwritten(path string) error {
	if err := overwrite(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return atomicfile.Remove(path)
}

func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(zero(f), f.Close())
}

// zero overwrites what is in a regular file, durably.
func zero(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	zeros := make([]byte, 64<<10)
	for off := int64(0); off < info.Size(); off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), info.Size()-off)], off); err != nil {
			return err
		}
	}
	return f.Sync()
}
