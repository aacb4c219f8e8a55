package keyring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/scratch"
	"github.com/efs-project/efs/seal"
	bolt "go.etcd.io/bbolt"
)

// OpenCopy opens a copy of the store at path, in memory, which nothing can
// write. It takes no lock and changes nothing, so path may lie on a volume
// that cannot be written, or be in use by a server. It is for recovery.
func OpenCopy(path string, kms map[string]efs.KMS, opts Options) (*Keyring, error) {
	s, err := memoryStore(path, func(to *os.File) error { return copyStable(to, path) })
	if err != nil {
		return nil, fmt.Errorf("opening the key store: %w", err)
	}
	return newKeyring(s, kms, opts), nil
}

// OpenBackup opens what Backup wrote in place of a key store, as OpenCopy does.
// efs.ErrRefused if it has expired, efs.ErrWrongKey if it is of another root.
func OpenBackup(src io.Reader, root efs.ID, kek seal.KEK, kms map[string]efs.KMS, opts Options) (*Keyring, Copy, error) {
	var about Copy
	s, err := memoryStore("the backup of keys", func(to *os.File) (err error) {
		about, err = readBackup(to, src, root, kek)
		return err
	})
	if err != nil {
		return nil, about, fmt.Errorf("opening the backup of keys: %w", backupError(err))
	}
	r := newKeyring(s, kms, opts)
	if r.life.now().Before(about.Expires) {
		return r, about, nil
	}
	return nil, about, errors.Join(expired(about), r.Close())
}

func expired(c Copy) error {
	return fmt.Errorf("%w: this backup expired on %s: what was destroyed since it was made is to stay so",
		efs.ErrRefused, c.Expires.Format(time.RFC3339))
}

// memoryStore opens the store that fill writes, in memory.
func memoryStore(name string, fill func(*os.File) error) (*store, error) {
	f, done, err := scratch.Memory()
	if err != nil {
		return nil, err
	}
	s := &store{path: name, done: done}
	if err = fill(f); err == nil {
		s.db, err = boltOf(f, name)
	}
	if err != nil {
		return nil, errors.Join(err, done())
	}
	if err := s.makeBuckets(nil); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.copied = true
	return s, nil
}

// boltOf opens the database in f, which it closes.
func boltOf(f *os.File, name string) (db *bolt.DB, err error) {
	defer guard(name, &err)()
	db, err = bolt.Open(f.Name(), 0o600, &bolt.Options{
		FreelistType: bolt.FreelistMapType,
		NoSync:       true,
		OpenFile:     func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	})
	return db, boltError(name, err)
}

// copyTries bounds how often a store is copied anew because it was written
// meanwhile.
const copyTries = 50

// copyStable copies a database as of one moment. bbolt writes pages that the
// newest of the two meta pages does not reach, and then the meta page: if those
// are the same before and after, all that they reach was copied as it was.
func copyStable(to *os.File, path string) error {
	from, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s", efs.ErrNotFound, path)
	}
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // only read
	for range copyTries {
		before, err := metaPages(from)
		if err != nil {
			return err
		}
		if err := to.Truncate(0); err != nil {
			return err
		}
		size, err := from.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(to, 0), io.NewSectionReader(from, 0, size)); err != nil {
			return err
		}
		after, err := metaPages(from)
		if err != nil {
			return err
		}
		copied := make([]byte, len(before))
		if _, err := to.ReadAt(copied, 0); err == nil && bytes.Equal(before, after) && bytes.Equal(before, copied) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%w: %s changes while it is copied: stop the server", efs.ErrUnavailable, path)
}

// metaPages reads the first two pages of a database.
func metaPages(f *os.File) ([]byte, error) {
	const pageSizeAt, least, most = 24, 1 << 10, 64 << 10
	b := make([]byte, 2*most)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	size := os.Getpagesize() // where the first page is damaged
	if n > pageSizeAt+4 {
		if v := int(binary.NativeEndian.Uint32(b[pageSizeAt:])); v >= least && v <= most && v&(v-1) == 0 {
			size = v
		}
	}
	return b[:min(n, 2*size)], nil
}

// Find returns the file system called name, as its records say, unproven until
// Keys opens them. efs.ErrNotFound tells which there are.
func (r *Keyring) Find(name string) (id efs.ID, err error) {
	var names []string
	err = r.store.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketFS).ForEach(func(k, stored []byte) error {
			m, _, _, err := parseManifest(stored)
			if err != nil || len(k) != len(id) {
				return nil // damaged: Keys says so, where it is the one
			}
			names = append(names, m.Name)
			if m.Name == name {
				id = efs.ID(k)
			}
			return nil
		})
	})
	if err == nil && id.IsZero() {
		err = fmt.Errorf("%w: %s has no keys of a file system called %q; it has those of %s", efs.ErrNotFound, r.store.path, name, strings.Join(names, ", "))
	}
	return id, err
}
