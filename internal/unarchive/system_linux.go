package unarchive

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/efs-project/efs/internal/archive"
)

// setAttributes keeps content type and metadata as extended attributes of the
// user; false where the file system takes none, or not these.
func setAttributes(f *os.File, m *archive.Member) (kept bool, err error) {
	set := func(name, value string) {
		if err != nil {
			return
		}
		switch err = unix.Fsetxattr(int(f.Fd()), "user."+name, []byte(value), 0); {
		case err == nil:
		case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EPERM), errors.Is(err, unix.E2BIG),
			errors.Is(err, unix.ERANGE), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSPC):
			kept, err = false, nil
		}
	}
	kept = true
	if m.Type != "" {
		set("mime_type", m.Type)
	}
	for k, v := range m.Meta {
		set(k, v)
	}
	return kept, err
}

// linkTime sets the time of a symbolic link.
func linkTime(root *os.Root, name string, t time.Time) error {
	dir, err := root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(dir.Fd()), filepath.Base(name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// syncAll makes everything on the volume of root durable: one wait instead of
// one for each file.
func syncAll(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Syncfs(int(dir.Fd()))
}
