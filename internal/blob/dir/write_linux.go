package dir

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// window is how much of a blob is written before its way to the disk begins.
const window = 8 << 20

// writeback, called after a write that moved the end of a file from from to
// to, sends each full window on its way to the disk and waits for the one
// before it. So a large blob is nearly on the disk when its sync comes, which
// would otherwise stall the syncs of everybody else, and its share of dirty
// memory stays at two windows.
func writeback(f *os.File, from, to int64) error {
	for end := (from/window + 1) * window; end <= to; end += window {
		err := unix.SyncFileRange(int(f.Fd()), end-window, window, unix.SYNC_FILE_RANGE_WRITE)
		if err == nil && end > window {
			err = unix.SyncFileRange(int(f.Fd()), end-2*window, window, unix.SYNC_FILE_RANGE_WAIT_BEFORE)
		}
		switch {
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ESPIPE), errors.Is(err, unix.EINTR):
			return nil // the sync will do it all
		case err != nil:
			return err // told once, and not again by the sync
		}
	}
	return nil
}

// writev begins to write pieces at offset with one system call, and returns how
// many bytes it wrote. It leaves a single piece to others.
func writev(f *os.File, pieces [][]byte, offset int64) (n int, err error) {
	if len(pieces) < 2 {
		return 0, nil
	}
	for {
		n, err = unix.Pwritev(int(f.Fd()), pieces, offset)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}

// renameNew gives a file its final name, which must not be taken.
func renameNew(dir int, from, to string) error {
	err := unix.Renameat2(dir, from, dir, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return unix.Renameat(dir, from, dir, to)
	}
	return err
}
