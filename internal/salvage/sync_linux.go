package salvage

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncTree makes what was written below a directory durable.
func syncTree(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // only read
	return unix.Syncfs(int(d.Fd()))
}
