//go:build !linux

package mirror

import (
	"io/fs"
	"runtime"

	"github.com/efs-project/efs/internal/treesync"
)

// keepsModes: files have POSIX permissions here.
const keepsModes = runtime.GOOS != "windows" && runtime.GOOS != "plan9"

const openFlags = 0

// stampOf has to do without the time of the last change of any kind.
func stampOf(fi fs.FileInfo) treesync.Stamp {
	return treesync.Stamp{Size: fi.Size(), Modified: fi.ModTime().UnixNano()}
}
