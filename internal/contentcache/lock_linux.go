package contentcache

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// lock locks pages as they are first touched, or all at once where the kernel
// does not know that.
func lock(b []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MLOCK2, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), mlockOnFault)
	switch errno {
	case 0:
		return nil
	case unix.ENOSYS, unix.EINVAL:
		return unix.Mlock(b)
	}
	return errno
}
