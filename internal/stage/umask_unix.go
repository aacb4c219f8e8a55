//go:build unix

package stage

import (
	"io/fs"
	"sync"
	"syscall"
)

// umask is read once, when the first file is made: reading it means setting
// it, which must not happen beside other files being made.
var umask = sync.OnceValue(func() fs.FileMode {
	old := syscall.Umask(0o077)
	syscall.Umask(old)
	return fs.FileMode(old)
})
