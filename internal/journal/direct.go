package journal

import (
	"errors"
	"os"
	"syscall"

	"github.com/efs-project/efs/internal/directio"
)

// directMin is what is worth passing by the page cache.
const directMin = 128 << 10

// directFile writes whole blocks from memory that lies on blocks, at the end of
// a file: past the page cache where that is worth it and the volume does it.
// What is written once and not read soon is then not copied, and pushes out
// nothing that is. Only a sync makes it durable.
type directFile struct {
	f     *os.File
	set   bool // f passes by the page cache
	never bool // the volume does not
}

func (d *directFile) Write(b []byte) (int, error) {
	if want := len(b) >= directMin && !d.never; want != d.set {
		if err := directio.Set(d.f, want); err == nil {
			d.set = want
		} else if d.never = true; d.set {
			return 0, err
		}
	}
	n, err := d.f.Write(b)
	if n == 0 && d.set && errors.Is(err, syscall.EINVAL) { // a device with larger blocks
		d.never = true
		return d.Write(b)
	}
	return n, err
}
