package secret

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Harden makes the process keep its memory to itself: no core dumps
// (RLIMIT_CORE 0), not dumpable (PR_SET_DUMPABLE 0: no ptrace by the same user,
// /proc/PID/mem and environ belong to root), and a first page for keys, locked.
// Called first in a server's main; its error tells what to do. Built with the
// tag efs_dumpable, for tests that look into a server's memory, the process
// stays dumpable.
func Harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbidding core dumps: %w", err)
	}
	if !dumpable {
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			return fmt.Errorf("making the process undumpable: %w", err)
		}
	}
	return reserve()
}

// tryLock reports whether n more bytes can be locked.
func tryLock(n int) error {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(b) }() // unlocks too
	return unix.Mlock(b)
}
