package scratch

import (
	"os"

	"golang.org/x/sys/unix"
)

// memory makes a file in memory (memfd_create(2)).
func memory() (*os.File, error) {
	fd, err := unix.MemfdCreate("efs", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "memory"), nil
}
