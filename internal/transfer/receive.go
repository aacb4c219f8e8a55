package transfer

import (
	"os"
	"path/filepath"

	"github.com/efs-project/efs/internal/stage"
)

// Receiver takes a file that comes in. Exactly one of Commit and Abort ends
// it.
type Receiver interface {
	Write([]byte) (int, error)
	Commit() error // the file is in place, whole and durable
	Abort()        // nothing has changed
}

// Receive begins a local file at path. A symbolic link there is followed; a
// device or a pipe is written to directly.
func Receive(path string, noOverwrite bool) (Receiver, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if fi, err := os.Stat(path); err == nil {
		if noOverwrite {
			return nil, errKept
		}
		if !fi.Mode().IsRegular() && !fi.IsDir() {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return nil, err
			}
			return direct{f}, nil
		}
	}
	return stage.Create(path, 0o666)
}

// direct is a receiver that can be neither renamed nor taken back.
type direct struct{ *os.File }

func (d direct) Commit() error { return d.Close() }
func (d direct) Abort()        { _ = d.Close() } // the copy has failed already
