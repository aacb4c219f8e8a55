package dir

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// oldKernel is set once openat2(2), of Linux 5.6, has turned out to be missing
// or forbidden by a sandbox.
var oldKernel atomic.Bool

// openBeneath opens rel below root in one call, through no symbolic link.
func openBeneath(root int, rel string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC),
		Mode:    uint64(mode),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	for !oldKernel.Load() {
		fd, err := unix.Openat2(root, rel, &how)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
			oldKernel.Store(true)
			continue
		}
		return fd, err
	}
	return walkBeneath(root, rel, flags, mode)
}
