//go:build !unix

package stage

import "io/fs"

func umask() fs.FileMode { return 0 }
