package bolt

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriting has the kernel begin to write n bytes from off on to the volume,
// so that a long copy does not come upon it, and on the log, all at once. A
// hint: that it fails changes nothing.
func startWriting(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
