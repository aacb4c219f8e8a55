package dir

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// openDir opens a directory that the caller named. The name may be a symbolic
// link: it comes from the configuration, not from the volume.
func openDir(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
}

// walkBeneath opens rel below root, one component at a time and through no
// symbolic link: ELOOP or ENOTDIR if there is one.
func walkBeneath(root int, rel string, flags int, mode uint32) (int, error) {
	at := root
	for {
		name, rest, more := strings.Cut(rel, "/")
		f, m := unix.O_RDONLY|unix.O_DIRECTORY, uint32(0)
		if !more {
			f, m = flags, mode
		}
		fd, err := openat(at, name, f|unix.O_NOFOLLOW|unix.O_CLOEXEC, m)
		if at != root {
			_ = unix.Close(at) // a directory opened for reading
		}
		if err != nil || !more {
			return fd, err
		}
		at, rel = fd, rest
	}
}

func openat(at int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(at, name, flags, mode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}
