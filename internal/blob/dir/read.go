package dir

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/efs-project/efs"
	"golang.org/x/sys/unix"
)

// blob is an open file, read at offsets.
type blob struct {
	*os.File
	size int64
}

func (b *blob) Size() int64 { return b.size }

// Open opens a blob wherever it lies; see efs.Blobs.
func (s *Store) Open(ctx context.Context, id efs.ID) (efs.Blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	f, err := s.find(id)
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", id, classify(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("not a regular file: %w", efs.ErrDamaged)
	}
	if err != nil {
		_ = f.Close() // opened for reading
		return nil, fmt.Errorf("open blob %s: %w", id, err)
	}
	return &blob{File: f, size: info.Size()}, nil
}

// find looks in the blob's place, in .new, and in the place again, as the blob
// may have been settled meanwhile.
func (s *Store) find(id efs.ID) (*os.File, error) {
	// A FIFO that somebody has put there must not block.
	const flags = unix.O_RDONLY | unix.O_NONBLOCK
	_, path := place(id, s.layout.FanOut)
	for try := 0; ; try++ {
		root, rel := s.fd(), path
		if try == 1 {
			root, rel = int(s.fresh.Fd()), id.String()
		}
		fd, err := openBeneath(root, rel, flags, 0)
		if err == nil {
			return os.NewFile(uintptr(fd), rel), nil
		}
		// EXDEV: settled between being found in .new and being opened, so that
		// to the kernel it is beneath .new no more.
		moved := try == 1 && errors.Is(err, unix.EXDEV)
		if try == 2 || !moved && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
	}
}
