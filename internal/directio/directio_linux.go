// Package directio lets a file be written past the page cache.
package directio

import (
	"os"

	"golang.org/x/sys/unix"
)

// Set sets or clears O_DIRECT (open(2)) of an open file. Setting it fails where
// the volume does not know it.
func Set(f *os.File, on bool) error {
	fd := f.Fd()
	flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	flags &^= unix.O_DIRECT
	if on {
		flags |= unix.O_DIRECT
	}
	_, err = unix.FcntlInt(fd, unix.F_SETFL, flags)
	return err
}
