package bolt

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/fsync"
)

// maxSegments is of how many segments a log consists: one that is written, the
// others on their way into the file.
const maxSegments = 4

// wal is the write-ahead log of an index. Only the committer appends; segments
// are opened, and made, when they are first needed.
type wal struct {
	path   string // of the index
	size   int64  // that segments grow to
	fault  func(step string) error
	files  [maxSegments]*os.File
	length [maxSegments]int64
	total  atomic.Int64 // of the lengths
	id     [16]byte     // zero: the file names no log
	number uint64       // of the last record
}

// logPosition is how the file names its log, and how far it has taken it in.
const logPositionLen = 16 + 8

func logPosition(id [16]byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, logPositionLen), id[:]...), number)
}

func parseLogPosition(b []byte) (id [16]byte, number uint64, err error) {
	switch len(b) {
	case 0:
		return id, 0, nil
	case logPositionLen:
		return [16]byte(b), binary.BigEndian.Uint64(b[16:]), nil
	}
	return id, 0, damaged("index names its log wrongly")
}

// inUse reports whether the file names this log.
func (w *wal) inUse() bool { return w.id != [16]byte{} }

// renew gives the log an id that it has never had. The file must name it before
// anything is appended.
func (w *wal) renew() {
	_, _ = rand.Read(w.id[:]) // never fails
	w.number = 0
}

func segmentPath(index string, i int) string { return fmt.Sprintf("%s.log%d", index, i) }

// bytes is how long the log is.
func (w *wal) bytes() int64 { return w.total.Load() }

// open makes segment i ready for appending, as long as it is wanted, or at
// least as it is needed, and returns its length. What it holds is not needed any
// more. efs.ErrNoSpace if it cannot be made: nothing has changed then.
func (w *wal) open(i int, need, want int64) (length int64, err error) {
	if w.files[i] == nil {
		err = w.openFile(i)
	}
	if err == nil && w.length[i] < want {
		err = w.extend(i, want)
	}
	if err != nil && !(isNoSpace(err) && w.length[i] >= max(need, 1)) {
		return 0, fmt.Errorf("segment of the index's log: %w", noSpace(err))
	}
	return w.length[i], nil
}

// openFile opens a segment, or an empty one.
func (w *wal) openFile(i int) error {
	f, err := os.OpenFile(segmentPath(w.path, i), os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = damaged("'%s' is not a regular file", f.Name())
	}
	n := int64(0)
	if err == nil {
		if n = info.Size() / recordAlign * recordAlign; n > 0 {
			err = allocate(f, 0, n) // a copied or restored one may have holes
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.files[i], w.length[i] = f, n
	w.total.Add(n)
	return nil
}

// extend makes a segment longer, by zeros, durably.
func (w *wal) extend(i int, length int64) error {
	f, old := w.files[i], w.length[i]
	err := w.fault("log create")
	if err == nil {
		err = allocate(f, old, length-old) // fails early where there is no room
	}
	if err == nil {
		// Blocks that are allocated but were never written would cost a sync a
		// change of metadata each.
		err = zeroFill(f, old, length-old)
	}
	if err != nil {
		return errors.Join(err, f.Truncate(old))
	}
	if err := errors.Join(f.Sync(), atomicfile.SyncDir(filepath.Dir(w.path))); err != nil {
		return fmt.Errorf("sync: %v", err) // not ErrNoSpace: a failed sync is final
	}
	w.length[i] = length
	w.total.Add(length - old)
	return nil
}

// append writes a record, whole blocks, to a segment, and makes it durable.
// written tells whether at least the first succeeded.
func (w *wal) append(segment int, record []byte, at int) (written bool, err error) {
	if err := w.fault("log write"); err != nil {
		return false, err
	}
	if _, err := w.files[segment].WriteAt(record, int64(at)); err != nil {
		return false, err
	}
	return true, w.sync(segment)
}

// revoke overwrites the beginning of a record that could not be made durable,
// so that the next start does not find it. It reports whether it will not, as
// far as that can be known.
func (w *wal) revoke(segment int, at int) bool {
	if w.fault("log revoke") != nil {
		return false
	}
	if _, err := w.files[segment].WriteAt(make([]byte, recordAlign), int64(at)); err != nil {
		return false
	}
	_ = w.sync(segment) // without a power cut the next start sees the write
	return true
}

func (w *wal) sync(segment int) error {
	if err := w.fault("log sync"); err != nil {
		return err
	}
	return fsync.Data(w.files[segment])
}

func (w *wal) close() {
	for _, f := range w.files {
		if f != nil {
			_ = f.Close() // what counts was synced
		}
	}
}
