package mirror

import (
	"io/fs"
	"syscall"

	"github.com/efs-project/efs/internal/treesync"
)

// keepsModes: files have POSIX permissions here.
const keepsModes = true

// openFlags keep a pipe that takes a file's place from being waited for.
const openFlags = syscall.O_NONBLOCK

func stampOf(fi fs.FileInfo) treesync.Stamp {
	s := treesync.Stamp{Size: fi.Size(), Modified: fi.ModTime().UnixNano()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		s.Changed, s.Inode = st.Ctim.Nano(), st.Ino
	}
	return s
}
