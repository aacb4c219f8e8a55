package audit

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/efs-project/efs/internal/fsync"
	"golang.org/x/sys/unix"
)

// file is what the writer needs of a file.
type file interface {
	io.WriterAt
	io.Closer
	// Sync makes what was written durable.
	Sync() error
	// Reserve allocates n bytes at off without making the file longer, so
	// that nobody else can take them. errors.ErrUnsupported where the volume
	// cannot.
	Reserve(off, n int64) error
	Truncate(size int64) error
	// At reports whether the file is the one at path.
	At(path string) bool
}

// opener opens a file for writing, and makes it, durably, if it is not there.
type opener func(path string) (file, error)

type osFile struct{ *os.File }

func openFile(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	return osFile{f}, nil
}

func (f osFile) Sync() error { return fsync.Data(f.File) }

func (f osFile) At(path string) bool {
	here, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(here, there)
}

func (f osFile) Reserve(off, n int64) error {
	for {
		switch err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, n); err {
		case unix.EINTR:
		case unix.EOPNOTSUPP, unix.ENOSYS:
			return errors.ErrUnsupported
		default:
			return err
		}
	}
}
