package keyring

import (
	"encoding/binary"
	"errors"
	"fmt"
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

// The format of a store is 2 until something is kept in it that a reader of
// format 2 must not pass over: so the previous release opens what does without.
const (
	storeFormat         = 2
	recoveryStoreFormat = 3 // keys are sealed to a recovery recipient
)

// store is keys.db. Records that are destroyed must not linger in free pages
// of the file: scrub rewrites it.
type store struct {
	path string
	mu   sync.RWMutex // held for writing while the file is exchanged
	db   *bolt.DB     // nil: closed

	copied bool         // of another, in memory: nothing is written
	done   func() error // gives that memory back
}

func openStore(path string) (*store, error) {
	db, err := openBolt(path)
	if err != nil {
		return nil, err
	}
	s := &store{path: path, db: db}
	if err = removeOverwritten(s.beside(restoreSuffix)); err == nil {
		err = s.discard()
	}
	if err == nil {
		err = s.prepare()
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func openBolt(path string) (*bolt.DB, error) {
	db, err := tryBolt(path)
	return db, boltError(path, err)
}

// boltError says what it means that bbolt does not open a file.
func boltError(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%w: another process has %s open: stop it first", efs.ErrUnavailable, path)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %s is not a key store: put it back from its backup", efs.ErrDamaged, path)
	}
	return err
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
	if err := s.makeBuckets(&scrub); err != nil {
		return err
	}
	if scrub {
		return s.scrub()
	}
	return atomicfile.SyncDir(filepath.Dir(s.path))
}

// makeBuckets makes those that are missing, checks the format, and says
// whether a scrub is due.
func (s *store) makeBuckets(scrub *bool) error {
	return s.update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketFS, bucketKeys, bucketUnits, bucketAnchors, bucketCopies} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		if scrub != nil {
			*scrub = meta.Get(metaScrub) != nil
		}
		return s.upgrade(meta)
	})
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
		case have == storeFormat, have == recoveryStoreFormat:
			return nil
		case have > recoveryStoreFormat, have < 1:
			return fmt.Errorf("%s has format %d, this program knows %d: it was written by a newer EFS, start that one", s.path, have, recoveryStoreFormat)
		}
	}
	return meta.Put(metaFormat, binary.BigEndian.AppendUint32(nil, storeFormat))
}

// useFormat notes that the store needs a reader of a format, from now on.
func useFormat(tx *bolt.Tx, format uint32) error {
	return tx.Bucket(bucketMeta).Put(metaFormat, binary.BigEndian.AppendUint32(nil, format))
}

func (s *store) view(f func(*bolt.Tx) error) error {
	return s.run(func(db *bolt.DB) error { return db.View(f) })
}

func (s *store) update(f func(*bolt.Tx) error) error {
	if s.copied {
		return fmt.Errorf("%w: %s is open for reading only", efs.ErrRefused, s.path)
	}
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

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	err := s.db.Close()
	s.db = nil
	if s.done != nil {
		err = errors.Join(err, s.done())
	}
	return err
}

func keyPlace(fs, key efs.ID) []byte { return append(fs[:], key[:]...) }
