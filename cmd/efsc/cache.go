package main

import (
	"io"
	"os"
	"path/filepath"

	"github.com/efs-project/efs/client"
)

// cache keeps decrypted copies where they never reach a disk, and gives them
// out again while the file has the ETag they were made of.
type cache interface {
	// lookup finds a copy: where it lies, or, where it lies in memory (where
	// is ""), its content.
	lookup(e *client.Entry) (where string, content []byte, ok bool)
	// keep makes a copy of what body delivers. content is to be read where
	// the copy does not lie in a file.
	keep(e *client.Entry, body io.Reader) (where string, content io.Reader, err error)
	// clear wipes all copies, also those of earlier sessions.
	clear() error
	// dir names the cache to people.
	dir() string
	// inFiles reports whether copies are files that others can open.
	inFiles() bool
}

// newCache keeps copies below dir if that is a tmpfs this user can write to,
// in memory otherwise. source names the server and its file system.
func newCache(dir, source string) cache {
	dir = filepath.Clean(dir)
	if onTmpfs(dir) {
		if root, err := os.OpenRoot(dir); err == nil {
			return &fileCache{path: dir, root: root, source: source, made: readLedger(root)}
		}
	}
	return &memoryCache{path: dir, files: map[string]cached{}}
}
