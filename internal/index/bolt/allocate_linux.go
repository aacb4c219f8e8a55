package bolt

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate gives a range of a file blocks of its own and makes the file at
// least as long as its end. What the range held stays.
func allocate(f *os.File, off, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, off, n)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return fillEnd(f, off, n)
		}
		return err
	}
}
