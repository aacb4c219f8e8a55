package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"go.etcd.io/bbolt"
)

// buildStep is how many bytes of records one transaction of a Builder writes.
const buildStep = 4 << 20

// Builder makes an index from records that are known from elsewhere: a backup,
// a journal. The file is no index before Finish. One goroutine uses it.
type Builder struct {
	path   string
	file   *os.File
	db     *bbolt.DB
	tx     *bbolt.Tx
	unsent int // bytes in tx
	fsID   efs.ID
	sealer efs.HeadSealer
}

// Build begins an index of file system id in a new file at path, of mode 0600.
// efs.ErrExists if there is one. The change log of what is made is empty, so
// that followers list anew.
func Build(path string, id efs.ID, sealer efs.HeadSealer) (*Builder, error) {
	b := &Builder{path: path, fsID: id, sealer: sealer}
	var err error
	b.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockTimeout, PageSize: pageSize, FreelistType: bbolt.FreelistMapType, InitialMmapSize: mapSizes(0)[0],
		NoSync: true, NoGrowSync: true, // until it is whole
		OpenFile: func(name string, flag int, mode fs.FileMode) (*os.File, error) {
			b.file, err = os.OpenFile(name, flag|os.O_EXCL|noFollow, mode)
			return b.file, err
		},
	})
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("building index '%s': %w", path, efs.ErrExists)
	}
	if err == nil {
		if err = b.db.Update(createBuckets); err != nil {
			b.Abort()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("building index '%s': %w", path, noSpace(err))
	}
	return b, nil
}

// Put sets a record with the version that it had.
func (b *Builder) Put(k efs.Key, version uint64, sealed []byte) error {
	if err := checkKey(k, false); err != nil {
		return err
	}
	v := make([]byte, versionLen, versionLen+len(sealed))
	binary.BigEndian.PutUint64(v, version)
	return b.set(byte(k.Space), k.Bytes, append(v, sealed...))
}

// Delete deletes a record.
func (b *Builder) Delete(k efs.Key) error {
	if err := checkKey(k, false); err != nil {
		return err
	}
	return b.set(byte(k.Space), k.Bytes, nil)
}

// Queue puts a content into the release queue, with the revision and sequence
// number of when it was dropped; Unqueue takes it out.
func (b *Builder) Queue(r efs.Release) error {
	return b.set(bucketQueue, queueKey(r), queueValue(r, true))
}

// Unqueue takes out what Queue put in, by its revision and content.
func (b *Builder) Unqueue(r efs.Release) error { return b.set(bucketQueue, queueKey(r), nil) }

// SetUsage says what an account has in use.
func (b *Builder) SetUsage(account efs.ID, u efs.Usage) error {
	return b.set(bucketUsage, account[:], usageValue(u))
}

func (b *Builder) set(bucket byte, key, value []byte) (err error) {
	if b.tx == nil {
		if b.tx, err = b.db.Begin(true); err != nil {
			return b.failed(err)
		}
	}
	to := bucketOf(b.tx, bucket)
	if value == nil {
		err = to.Delete(key)
	} else {
		err = to.Put(key, value)
	}
	if b.unsent += opSize(len(key), len(value)); err == nil && b.unsent >= buildStep {
		err = b.flush()
	}
	return b.failed(err)
}

func (b *Builder) flush() error {
	if b.tx == nil {
		return nil
	}
	tx := b.tx
	b.tx, b.unsent = nil, 0
	return tx.Commit()
}

func (b *Builder) failed(err error) error {
	if err != nil {
		return fmt.Errorf("building index '%s': %w", b.path, noSpace(err))
	}
	return nil
}

// Finish makes the file an index that stands at head, durably, and closes it.
// Versions of records must not lie above head's revision.
func (b *Builder) Finish(head efs.Head) error {
	err := b.flush()
	if err == nil {
		err = b.db.Update(func(tx *bbolt.Tx) error {
			meta := tx.Bucket(names[bucketMeta])
			head.FS = b.fsID
			return errors.Join(
				meta.Put(metaFormat, formatValue()),
				meta.Put(metaFS, b.fsID[:]),
				meta.Put(metaHead, b.sealer.SealHead(head)))
		})
	}
	if err == nil {
		err = b.file.Sync()
	}
	if err = errors.Join(err, b.db.Close()); err == nil {
		err = atomicfile.SyncDir(filepath.Dir(b.path))
	}
	return b.failed(err)
}

// Abort removes what was begun.
func (b *Builder) Abort() {
	if b.tx != nil {
		_ = b.tx.Rollback()
	}
	_ = b.db.Close()
	_ = os.Remove(b.path)
}

// Files returns the names of the files that an index at path consists of, or
// leaves after a crash.
func Files(path string) []string {
	files := []string{path}
	for i := range maxSegments {
		files = append(files, segmentPath(path, i))
	}
	return append(files, compactPath(path))
}

// RemoveFiles removes an index that is not open.
func RemoveFiles(path string) error {
	var errs []error
	for _, f := range Files(path) {
		errs = append(errs, removeIfThere(f))
	}
	return errors.Join(errs...)
}
