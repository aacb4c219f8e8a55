package keyring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The buckets of keys.db.
var (
	bucketMeta    = []byte("meta")
	bucketFS      = []byte("fs")      // file system → manifest
	bucketKeys    = []byte("keys")    // file system ‖ key → record
	bucketUnits   = []byte("units")   // file system ‖ unit → record; since format 2
	bucketAnchors = []byte("anchors") // file system → sealed head
	bucketCopies  = []byte("copies")  // backup → when it was made and when it expires; since format 2

	metaFormat = []byte("format")
	metaScrub  = []byte("scrub") // there while destroyed records may lie in free pages
)

const storeFormat = 2

// store is keys.db. Records that are destroyed must not linger in free pages
// of the file: scrub rewrites it.
type store struct {
	path string
	mu   sync.RWMutex // held for writing while the file is exchanged
	db   *bolt.DB     // nil: closed
}

func openStore(path string) (*store, error) {
	db, err := openBolt(path)
	if err != nil {
		return nil, err
	}
	s := &store{path: path, db: db}
	if err = s.discard(); err == nil {
		err = s.prepare()
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func openBolt(path string) (*bolt.DB, error) {
	db, err := tryBolt(path)
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w: another process has %s open: stop it first", efs.ErrUnavailable, path)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %s is not a key store: put it back from its backup", efs.ErrDamaged, path)
	case err != nil:
		return nil, err
	}
	return db, nil
}

// tryBolt opens path. Where bbolt panics over a damaged file, the file is
// closed here, so that it does not stay locked.
func tryBolt(path string) (db *bolt.DB, err error) {
	var file *os.File
	defer func() {
		if err != nil && file != nil {
			_ = file.Close() // again, unless bbolt panicked
		}
	}()
	defer guard(path, &err)()
	return bolt.Open(path, 0o600, &bolt.Options{
		Timeout:      time.Second,
		FreelistType: bolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
}

// prepare makes the buckets of a new store, checks the format of an old one,
// and finishes a scrub that was cut off.
func (s *store) prepare() error {
	var scrub bool
	err := s.update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketFS, bucketKeys, bucketUnits, bucketAnchors, bucketCopies} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		scrub = meta.Get(metaScrub) != nil
		return s.upgrade(meta)
	})
	if err != nil {
		return err
	}
	if scrub {
		return s.scrub()
	}
	return atomicfile.SyncDir(filepath.Dir(s.path))
}

// upgrade brings a store of an older format to the present one. Format 2 adds
// a bucket; records of format 1 stay as they are until they change.
func (s *store) upgrade(meta *bolt.Bucket) error {
	format := meta.Get(metaFormat)
	if format != nil {
		if len(format) != 4 {
			return fmt.Errorf("%w: %s does not tell its format: put it back from its backup", efs.ErrDamaged, s.path)
		}
		switch have := binary.BigEndian.Uint32(format); {
		case have == storeFormat:
			return nil
		case have > storeFormat, have < 1:
			return fmt.Errorf("%s has format %d, this program knows %d: it was written by a newer EFS, start that one", s.path, have, storeFormat)
		}
	}
	return meta.Put(metaFormat, binary.BigEndian.AppendUint32(nil, storeFormat))
}

func (s *store) view(f func(*bolt.Tx) error) error {
	return s.run(func(db *bolt.DB) error { return db.View(f) })
}

func (s *store) update(f func(*bolt.Tx) error) error {
	return s.run(func(db *bolt.DB) error { return db.Update(f) })
}

func (s *store) run(f func(*bolt.DB) error) (err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return errClosed
	}
	defer guard(s.path, &err)()
	return f(s.db)
}

var errClosed = fmt.Errorf("%w: the keyring is closed", efs.ErrStopped)

// guard turns the panics and memory faults that damaged pages cause in bbolt
// into an error. Deferred as `defer guard(path, &err)()`.
func guard(path string, err *error) func() {
	faults := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(faults)
		if r := recover(); r != nil {
			*err = fmt.Errorf("%w: %s is inconsistent (%v): put it back from its backup", efs.ErrDamaged, path, r)
		}
	}
}

// scrub rewrites the file without its free pages and overwrites the old one.
// Overwriting reaches the blocks only on volumes that write in place; docs
// say so.
func (s *store) scrub() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return errClosed
	}
	if err := s.rewrite(); err != nil {
		return fmt.Errorf("rewriting %s: %w", s.path, err)
	}
	if err := s.db.Close(); err != nil {
		return err
	}
	s.db = nil // stays so if what follows fails: reopening finishes it
	if err := s.exchange(); err != nil {
		return fmt.Errorf("exchanging %s: %w", s.path, err)
	}
	s.db, err = openBolt(s.path)
	return err
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
	if err := bolt.Compact(fresh, s.db, 0); err != nil {
		return err
	}
	return fresh.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete(metaScrub) })
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
// still the one in use; and what a restoration left.
func (s *store) discard() error {
	if err := removeOverwritten(s.beside(restoreSuffix)); err != nil {
		return err
	}
	if err := os.Remove(s.beside(".new")); err != nil && !errors.Is(err, fs.ErrNotExist) {
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

// restoreSuffix marks the file that a backup is opened in.
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

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	err := s.db.Close()
	s.db = nil
	return err
}

func keyPlace(fs, key efs.ID) []byte { return append(fs[:], key[:]...) }
