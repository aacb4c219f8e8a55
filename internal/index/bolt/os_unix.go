//go:build unix

package bolt

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// noFollow has a symbolic link refused where a file belongs.
const noFollow = syscall.O_NOFOLLOW

// takeMemory returns memory outside the collected heap.
func takeMemory(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// giveMemory gives back what takeMemory returned.
func giveMemory(b []byte) { _ = unix.Munmap(b) } // was mapped; cannot fail

// unlock gives up the lock that bbolt took on a file.
func unlock(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// availableBytes is how much can be written to the volume of a directory.
func availableBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	return st.Bavail * uint64(st.Bsize), err
}
