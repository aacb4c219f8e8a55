package bolt

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/efs-project/efs"
	"go.etcd.io/bbolt"
)

const (
	minGrowth = 1 << 20
	maxGrowth = 64 << 20
)

// room is the allocated length of the index file and who may use how much of
// it; see the package comment.
type room struct {
	file    *os.File
	reserve int64
	fault   func(step string) error

	size atomic.Int64 // bytes allocated: writing below it cannot run out of space
	used atomic.Int64 // of them in bbolt's hands, from the start of the file
	free atomic.Int64 // of those to be had

	freePages atomic.Int64 // bytes in free pages, the list of which takes some
	gone      atomic.Bool  // the file is another now

	growing sync.Mutex // committer and flusher grow
}

// openRoom takes over a file of which bbolt uses the first used bytes and
// makes the reserve. A volume too full for that is no error: the index is
// opened, and serves what needs no space.
func openRoom(file *os.File, used int64, opts Options) (*room, error) {
	r := &room{file: file, reserve: opts.Reserve, fault: opts.Fault}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	r.size.Store(info.Size())
	r.used.Store(used)
	// A copied or restored file may have holes where it had allocated blocks.
	if err := allocate(file, 0, info.Size()); err != nil && !isNoSpace(err) {
		return nil, fmt.Errorf("allocate index: %w", err)
	}
	if missing := used + r.reserve + minGrowth - info.Size(); missing > 0 {
		if err := r.growTo(info.Size() + missing); err != nil && !isNoSpace(err) {
			return nil, err
		}
	}
	return r, nil
}

// limit is how long bbolt may let the file become in a commit: all that is
// allocated if it gives back, else all but the reserve. Never 0, which would
// mean no limit to bbolt.
func (r *room) limit(givesBack bool) int {
	size := r.size.Load()
	if !givesBack {
		size -= r.reserve
	}
	return int(max(1, size))
}

// note remembers how a transaction left the file.
func (r *room) note(used, page int64, stats *bbolt.Stats) {
	r.used.Store(used)
	// The list of free pages is written with each transaction, in one row.
	r.freePages.Store(int64(stats.FreePageN+stats.PendingPageN) * page)
	r.free.Store(int64(stats.FreePageN)*page - 2*int64(stats.FreelistInuse))
}

// holds reports whether a cost can be paid without growing, and without the
// reserve. Rows may find no place in pages that were freed one by one.
func (r *room) holds(c cost) bool {
	end := r.size.Load() - r.reserve - r.used.Load()
	list := c.pages / leastPage * 8 * 2 // what the list of free pages may grow by
	return c.rows+list <= end && c.pages+list <= end+r.free.Load()
}

// grow allocates more, an eighth of the file or what is left on the volume,
// and makes the new length durable. efs.ErrNoSpace when there is nothing left:
// nothing has changed then. Any other error is a failed write.
func (r *room) grow() error {
	r.growing.Lock()
	defer r.growing.Unlock()
	if r.gone.Load() {
		return nil // whoever needs room asks again, and of the new file
	}
	var err error
	size := r.size.Load()
	for step := min(max(size/8, 4*minGrowth), maxGrowth); step >= minGrowth; step /= 2 {
		if err = r.growTo(size + step); !isNoSpace(err) {
			return err
		}
	}
	return err
}

func (r *room) growTo(size int64) error {
	old := r.size.Load()
	err := r.fault("grow")
	if err == nil {
		err = allocate(r.file, old, size-old)
	}
	if err != nil {
		// Some file systems keep what they had allocated before they failed:
		// the last of the volume, which deletes may need.
		if terr := r.file.Truncate(old); terr != nil && !isNoSpace(err) {
			err = errors.Join(err, terr)
		}
		return fmt.Errorf("grow index: %w", noSpace(err))
	}
	if err := r.sync(); err != nil {
		return fmt.Errorf("sync grown index: %v", err) // not ErrNoSpace: a failed sync is final
	}
	r.size.Store(size)
	return nil
}

func (r *room) sync() error {
	if err := r.fault("sync"); err != nil {
		return err
	}
	return r.file.Sync()
}

// isNoSpace reports whether err says that the volume, or what this user may
// have of it, is full.
func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, syscall.EFBIG) || errors.Is(err, efs.ErrNoSpace)
}

// noSpace adds efs.ErrNoSpace to errors that mean it.
func noSpace(err error) error {
	if err == nil || !isNoSpace(err) || errors.Is(err, efs.ErrNoSpace) {
		return err
	}
	return fmt.Errorf("%w: %w", efs.ErrNoSpace, err)
}

// zeroFill allocates by writing, for file systems that know no other way.
func zeroFill(f *os.File, off, n int64) error {
	zeros := make([]byte, min(n, 1<<20))
	for n > 0 {
		w, err := f.WriteAt(zeros[:min(n, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off += int64(w)
		n -= int64(w)
	}
	return nil
}

// fillEnd fills the part of a range that lies beyond the end of the file.
func fillEnd(f *os.File, off, n int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if end := off + n; info.Size() < end {
		return zeroFill(f, max(off, info.Size()), end-max(off, info.Size()))
	}
	return nil
}
