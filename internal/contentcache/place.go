package contentcache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs"
	"golang.org/x/sys/unix"
)

// fileName is the arena's name in its directory.
const fileName = "arena"

// openFile opens the arena's file in o.Where with size bytes, all of them
// zero and all of them there: a page that cannot be had later would end the
// process. Whatever a killed server left in it is overwritten first.
func openFile(o *Options, size int64) (*os.File, error) {
	if err := checkPlace(o); err != nil {
		return nil, err
	}
	path := filepath.Join(o.Where, fileName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := prepareFile(f, size); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return f, nil
}

func prepareFile(f *os.File, size int64) error {
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("another server keeps its cache there: %w", efs.ErrUnavailable)
	case err != nil:
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is no regular file", efs.ErrBadInput)
	}
	if err := overwrite(f, info.Size()); err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) { // ramfs
		err = overwrite(f, size)
	}
	if err != nil {
		return fmt.Errorf("taking %d MiB there: %w: give it more room or make [cache] size smaller", size>>20, err)
	}
	return nil
}

// overwrite writes zeros over what is there, and has them written through
// where there is a disk below.
func overwrite(f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return fmt.Errorf("overwriting what was left there: %w", err)
		}
	}
	if size == 0 {
		return nil
	}
	return f.Sync()
}

// checkPlace refuses a directory that is not for plaintext. It is made if only
// itself is missing.
func checkPlace(o *Options) error {
	dir, err := filepath.EvalSymlinks(o.Where)
	if errors.Is(err, os.ErrNotExist) {
		if dir, err = filepath.EvalSymlinks(filepath.Dir(o.Where)); err == nil {
			dir = filepath.Join(dir, filepath.Base(o.Where))
		}
	}
	if err != nil {
		return err
	}
	if err := checkVolumes(o, dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	o.Where = dir
	if err := checkOwner(dir); err != nil {
		return err
	}
	return checkType(o, dir)
}

func checkVolumes(o *Options, dir string) error {
	for _, volume := range o.Volumes {
		real, err := filepath.EvalSymlinks(volume)
		if err != nil {
			real = volume // not made yet
		}
		if below(dir, real) || below(real, dir) {
			return fmt.Errorf("%w: %s is part of the volume %s: decrypted files must never lie there; take a directory elsewhere, such as /run/efs-cache", efs.ErrBadInput, dir, real)
		}
	}
	return nil
}

func below(dir, top string) bool {
	return dir == top || strings.HasPrefix(dir, strings.TrimSuffix(top, "/")+"/")
}

func checkOwner(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%w: %s is no directory", efs.ErrBadInput, dir)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to user %d: `chown` it to the user that runs the server", efs.ErrBadInput, dir, st.Uid)
	case st.Mode&0o077 != 0:
		return fmt.Errorf("%w: %s is open to other users (mode %04o): `chmod 700 %s`", efs.ErrBadInput, dir, st.Mode&0o777, dir)
	}
	return nil
}

func checkType(o *Options, dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if t := int64(st.Type); t == unix.TMPFS_MAGIC || t == unix.RAMFS_MAGIC {
		return nil
	}
	if o.Force {
		o.Logger.Warn("decrypted files are kept on a disk, as [cache] force says: what is overwritten there may still be read from it", "dir", dir)
		return nil
	}
	return fmt.Errorf("%w: %s is no tmpfs, so that decrypted files would reach a disk: mount one there (mount -t tmpfs -o mode=700 tmpfs %s), "+
		"take another directory, or where = \"memory\"", efs.ErrBadInput, dir, dir)
}
