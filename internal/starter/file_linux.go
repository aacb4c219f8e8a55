package starter

import (
	"fmt"
	"os"
	"syscall"

	"github.com/efs-project/efs"
	"golang.org/x/sys/unix"
)

// checkPrivate refuses a key file that others can read or could have written.
// Files on a tmpfs may be readable by others: orchestrators deliver secrets
// so, in a mount that only the container sees.
func checkPrivate(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	mode := info.Mode()
	if mode&os.ModeNamedPipe != 0 {
		return nil
	}
	if !mode.IsRegular() {
		return fmt.Errorf("%w: not a regular file or a pipe", efs.ErrBadInput)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: the file belongs to user %d: `chown` it to the user that runs the server", efs.ErrRefused, st.Uid)
	}
	if mode.Perm()&0o022 != 0 || mode.Perm()&0o044 != 0 && !onTmpfs(f) {
		return fmt.Errorf("%w: the file is open to other users (mode %04o): `chmod 600 %s`; "+
			"if others could read it, its key is to be replaced", efs.ErrRefused, mode.Perm(), f.Name())
	}
	return nil
}

func onTmpfs(f *os.File) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return false
	}
	return st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC
}
