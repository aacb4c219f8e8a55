package dir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/efs-project/efs"
	"golang.org/x/sys/unix"
)

const (
	layoutFile   = "layout"
	layoutFormat = 1
	maxLayout    = 4096 // bytes
)

// layout is what the file of that name says. It is written once.
type layout struct {
	Format int `json:"format"`
	FanOut int `json:"fan_out"` // directory levels
}

func (l layout) valid() error {
	if l.FanOut < minFanOut || l.FanOut > maxFanOut {
		return fmt.Errorf("fan-out of %d levels: give %d or %d, or 0 to choose by the volume: %w",
			l.FanOut, minFanOut, maxFanOut, efs.ErrBadInput)
	}
	return nil
}

// readLayout reads the layout of an open root.
func readLayout(root *os.File) (layout, error) {
	var l layout
	fd, err := openBeneath(int(root.Fd()), layoutFile, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) {
		return l, fmt.Errorf("no layout file: mount the volume that holds the contents, or put the file back: %w", efs.ErrNotFound)
	} else if err != nil {
		return l, err
	}
	f := os.NewFile(uintptr(fd), layoutFile)
	defer func() { _ = f.Close() }() // opened for reading
	b, err := io.ReadAll(io.LimitReader(f, maxLayout))
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return l, fmt.Errorf("layout file: %v: %w", err, efs.ErrDamaged)
	}
	if l.Format != layoutFormat {
		return l, fmt.Errorf("layout file has format %d, this program knows %d: use the version that wrote it: %w",
			l.Format, layoutFormat, efs.ErrRefused)
	}
	if err := l.valid(); err != nil {
		return l, fmt.Errorf("layout file: %w", errors.Join(err, efs.ErrDamaged))
	}
	return l, nil
}

// write puts the layout into root, whole or not at all.
func (l layout) write(root *os.File) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	const temp = layoutFile + tempSuffix
	if err := unix.Unlinkat(int(root.Fd()), temp, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	fd, err := unix.Openat(int(root.Fd()), temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, fileMode)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), temp)
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := unix.Renameat(int(root.Fd()), temp, int(root.Fd()), layoutFile); err != nil {
		return err
	}
	return root.Sync()
}

// refuseUsed fails if root holds a layout, or blobs whose layout is gone:
// another fan-out must never be chosen for them.
func refuseUsed(root *os.File) error {
	for {
		names, err := root.Readdirnames(256)
		for _, name := range names {
			if name == layoutFile {
				return efs.ErrExists
			}
			if isPair(name) {
				return fmt.Errorf("holds contents, but no layout file: put it back: %w", efs.ErrExists)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
