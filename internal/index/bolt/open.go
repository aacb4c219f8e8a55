package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// ErrNewer is the error of opening an index that a newer version of EFS made.
var ErrNewer = errors.New("made by a newer version of EFS")

// lockTimeout bounds the wait for another process to let go of the file.
const lockTimeout = time.Second

// Create makes an index for file system fs in a new file of mode 0600 and
// opens it. The file appears under its name complete or not at all.
// efs.ErrExists if there is one.
func Create(path string, fs efs.ID, sealer efs.HeadSealer, opts Options) (*Index, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("create index '%s': %w", path, efs.ErrExists)
	}
	fresh := path + ".new" // what a crash may leave; made anew by the next attempt
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("create index: %w", err)
	}
	if err := initialise(fresh, fs, sealer); err != nil {
		_ = os.Remove(fresh) // the error that counts is the first
		return nil, fmt.Errorf("create index '%s': %w", path, noSpace(err))
	}
	if err := os.Rename(fresh, path); err != nil {
		return nil, fmt.Errorf("create index: %w", err)
	}
	if err := atomicfile.SyncDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("create index: %w", err)
	}
	return Open(path, fs, sealer, opts)
}

// initialise writes an empty index, durably.
func initialise(path string, fs efs.ID, sealer efs.HeadSealer) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, PageSize: pageSize, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // committed or not; closing changes nothing
	return db.Update(func(tx *bbolt.Tx) error {
		if err := createBuckets(tx); err != nil {
			return err
		}
		meta := tx.Bucket(names[bucketMeta])
		head := efs.Head{FS: fs, Time: time.Now().UnixMicro()}
		return errors.Join(
			meta.Put(metaFormat, formatValue()),
			meta.Put(metaFS, fs[:]),
			meta.Put(metaHead, sealer.SealHead(head)))
	})
}

func createBuckets(tx *bbolt.Tx) error {
	for _, name := range names {
		if name == nil {
			continue
		}
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return nil
}

// formatValue is the format version as it stands in the file.
func formatValue() []byte { return binary.BigEndian.AppendUint64(nil, formatVersion) }

// Open opens the index of file system fs, which it must belong to, with what its
// log holds, and checks that its sealed head and its change log agree.
//
// Errors: efs.ErrNotFound (no such file), ErrNewer, efs.ErrDamaged with what
// does not fit, efs.ErrUnavailable while another process has it open.
func Open(path string, fs efs.ID, sealer efs.HeadSealer, opts Options) (x *Index, err error) {
	opts.setDefaults()
	db, file, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("open index '%s': %w", path, err)
	}
	log := &wal{path: path, size: int64(opts.Segment), fault: opts.Fault}
	var gens []*generation
	defer func() {
		if err != nil {
			err = fmt.Errorf("open index '%s': %w", path, err)
			log.close()
			for _, g := range gens {
				g.release()
			}
			_ = db.Close() // the error that counts is the first
		}
	}()
	var head efs.Head
	var used int64
	err = guard(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			used = tx.Size()
			if err := verifyFile(tx, fs); err != nil {
				return err
			}
			s := &snapshot{file: &fileView{tx: tx}, seq: newest}
			if head, err = verifyHead(s, fs, sealer); err != nil {
				return err
			}
			if gens, err = log.recover(s.get(bucketMeta, metaLog), head.Revision); err != nil {
				return err
			}
			for _, g := range gens {
				s.gens = slices.Insert(s.gens, 0, g)
			}
			if head, err = verifyHead(s, fs, sealer); err != nil {
				return err
			}
			return verifyLog(s, head, sealer)
		})
	})
	if err != nil {
		return nil, err
	}
	if err = errors.Join(removeIfThere(compactPath(path)), removeIfThere(snapshotPath(path)), log.settle(gens)); err != nil {
		return nil, err
	}
	room, err := openRoom(file, used, opts)
	if err != nil {
		return nil, err
	}
	x = start(newStore(db, room), log, gens, head, sealer, opts)
	return x, x.measure()
}

// openFile opens the bbolt file at path, never making one, and returns the
// descriptor that bbolt writes through.
func openFile(path string) (db *bbolt.DB, file *os.File, err error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil, fmt.Errorf("%w: put the index back from a backup", efs.ErrNotFound)
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, damaged("not a regular file")
	case info.Size() == 0: // bbolt would take it for a new one
		return nil, nil, damaged("file is empty")
	case info.Size() < 2*pageSize:
		return nil, nil, damaged("file was cut to %d bytes", info.Size())
	}
	for _, mapSize := range mapSizes(info.Size()) {
		err = guard(func() error {
			db, err = bbolt.Open(path, 0o600, &bbolt.Options{
				Timeout:         lockTimeout,
				FreelistType:    bbolt.FreelistMapType,
				InitialMmapSize: mapSize,
				OpenFile: func(name string, flag int, mode fs.FileMode) (*os.File, error) {
					file, err = os.OpenFile(name, flag&^os.O_CREATE|noFollow, mode)
					return file, err
				},
			})
			return err
		})
		if err == nil {
			break
		}
		if file != nil {
			letGo(file) // bbolt leaves it open when it panics
		}
		if !errors.Is(err, syscall.ENOMEM) && !errors.Is(err, syscall.EINVAL) {
			return nil, nil, openError(err)
		}
	}
	if err != nil {
		return nil, nil, openError(err)
	}
	// The file is grown by room alone; see the package comment.
	db.AllocSize = 0
	var used int64
	err = guard(func() error {
		return db.View(func(tx *bbolt.Tx) error { used = tx.Size(); return nil })
	})
	if err == nil && info.Size() < used {
		err = damaged("file was cut: %d bytes of %d", info.Size(), used)
	}
	if err != nil {
		_ = db.Close()
		return nil, nil, err
	}
	return db, file, nil
}

// letGo closes a file that bbolt still maps. The map would keep the lock, which
// belongs to the open file, so that is given up first.
func letGo(file *os.File) {
	unlock(file) // closed already: nothing to give up
	_ = file.Close()
}

// leastMap is how long the map is at least. A variable for tests.
var leastMap int64 = 64 << 30

// mapSizes returns the sizes of the memory map to try, largest first. The map
// is far larger than the file, as growing it would wait for every reader;
// addresses cost nothing where the process has them.
func mapSizes(file int64) []int {
	if strconv.IntSize == 32 {
		return []int{256 << 20, 0}
	}
	top := max(leastMap, 4*file)
	if top > math.MaxInt/2 {
		top = file
	}
	return []int{int(top), 4 << 30, 0}
}

// openError says what a failure of bbolt to open a file means.
func openError(err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("another server has this root open: stop it first: %w", efs.ErrUnavailable)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return damaged("%v", err)
	}
	return err
}

// verifyFile checks format, file system and buckets.
func verifyFile(tx *bbolt.Tx, fs efs.ID) error {
	meta := tx.Bucket(names[bucketMeta])
	if meta == nil {
		return damaged("not an index of EFS")
	}
	format := meta.Get(metaFormat)
	if len(format) != 8 {
		return damaged("not an index of EFS")
	}
	if v := binary.BigEndian.Uint64(format); v > formatVersion {
		return fmt.Errorf("index has format %d, this program knows %d: use the version that wrote it: %w", v, formatVersion, ErrNewer)
	} else if v < formatUnlogged {
		return damaged("index has the unknown format %d", v)
	}
	if have, err := uuidOf(meta.Get(metaFS)); err != nil || have != fs {
		return damaged("index belongs to file system %s, not %s: put the right one back", have, fs)
	}
	for _, name := range names {
		if name != nil && tx.Bucket(name) == nil {
			return damaged("index has no %s", name)
		}
	}
	return nil
}

// verifyHead opens the head.
func verifyHead(s *snapshot, fs efs.ID, sealer efs.HeadSealer) (efs.Head, error) {
	head, err := sealer.OpenHead(s.get(bucketMeta, metaHead))
	if err != nil {
		return head, fmt.Errorf("index head does not open: %w", err)
	}
	if head.FS != fs {
		return head, damaged("index head is of file system %s, not %s", head.FS, fs)
	}
	return head, nil
}

// verifyLog checks that the last change in the log is the head's, and that it
// follows from the one before. An empty log has been trimmed and says nothing.
func verifyLog(s *snapshot, head efs.Head, sealer efs.HeadSealer) error {
	k, v := s.last(bucketChanges, nil)
	if k == nil {
		return nil
	}
	last, err := parseChange(k, v)
	if err != nil {
		return err
	}
	if last.Seq != head.Seq {
		return damaged("change log ends at %d, head says %d", last.Seq, head.Seq)
	}
	if last.Link != head.Link {
		return damaged("change %d does not have the link that the head names", last.Seq)
	}
	var prev [32]byte
	if k, v = s.last(bucketChanges, k); k != nil {
		before, err := parseChange(k, v)
		if err != nil {
			return err
		}
		if before.Seq+1 != last.Seq {
			return damaged("change log has a gap before %d", last.Seq)
		}
		prev = before.Link
	} else if last.Seq != 1 {
		return nil // the one before has been trimmed
	}
	if sealer.Link(prev, last.Seq, last.Sealed) != last.Link {
		return damaged("change %d does not follow from the one before", last.Seq)
	}
	return nil
}

func uuidOf(b []byte) (id efs.ID, err error) {
	if len(b) != len(id) {
		return id, damaged("malformed id")
	}
	return efs.ID(b), nil
}

// errPanicked marks what guard has caught.
var errPanicked = damaged("index file")

// guard runs fn and turns what a damaged file makes bbolt do, a panic on a
// page that makes no sense or a fault on a page that cannot be read, into
// efs.ErrDamaged, so that a bad sector does not take the process down.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	return fn()
}
