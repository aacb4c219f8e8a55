package starter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// errReadOnly is what writing to a Box of OpenBoxReadOnly gives.
var errReadOnly = fmt.Errorf("%w: the server's secrets are open for reading only", efs.ErrRefused)

// OpenBoxReadOnly is OpenBox that changes nothing in dir, which may be on a
// volume that cannot be written, or in use: what a crash or a rotation of the
// starter key left unfinished stays so. It is for recovery without a server.
func OpenBoxReadOnly(dir string, k *secret.Key) (*Box, error) {
	if initialised, err := BoxState(dir); err == nil && !initialised {
		return nil, fmt.Errorf("%w: %s is not that of a server, which has a %s: name the server's directory, or a backup of it", efs.ErrNotFound, dir, rootFile)
	}
	doc, err := readRoot(dir)
	if err != nil {
		return nil, err
	}
	if err := doc.fits(k, dir); err != nil {
		return nil, err
	}
	b := doc.box(dir, k)
	b.stuck, b.readOnly = errReadOnly, true
	return b, nil
}

// readSecret reads the file of a secret. Where a rotation of the starter key is
// past root.json and not finished, the newest one still lies in nextDir.
func (b *Box) readSecret(path string) ([]byte, error) {
	if b.readOnly {
		next, err := os.ReadFile(filepath.Join(b.dir, nextDir, filepath.Base(path)))
		if err == nil && len(next) >= boxHeader && string(next[:boxHeader]) == string(b.header()) {
			return next, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return os.ReadFile(path)
}
