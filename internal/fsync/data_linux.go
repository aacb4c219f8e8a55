// Package fsync makes what was written to a file durable.
package fsync

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Data makes the contents of a file durable, and its length where that is
// needed to read them; not its times (fdatasync). An error is final: what was
// written may be lost, whatever a later call says.
func Data(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
