//go:build !unix

package stage

import (
	"io/fs"
	"os"
)

func umask() fs.FileMode { return 0 }

// syncDir does nothing: these systems make names durable with the file.
func syncDir(*os.Root, string) error { return nil }
