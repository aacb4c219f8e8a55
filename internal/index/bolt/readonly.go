package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/efs-project/efs"
	"go.etcd.io/bbolt"
)

// OpenReadOnly opens the index at path as it lies, with what its log holds, and
// changes nothing: it may lie on a volume that cannot be written. While it is
// open no server can open it. It is for recovery without one. Errors are those
// of Open.
func OpenReadOnly(path string, fs efs.ID, sealer efs.HeadSealer) (efs.IndexSnapshot, error) {
	m := &image{}
	err := guard(func() error { return m.openReadOnly(path, fs, sealer) })
	if err != nil {
		if m.db != nil {
			err = errors.Join(err, m.Close())
		}
		return nil, fmt.Errorf("open index '%s' to read it: %w", path, err)
	}
	return m, nil
}

func (m *image) openReadOnly(path string, id efs.ID, sealer efs.HeadSealer) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return efs.ErrNotFound
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return damaged("not a regular file")
	case info.Size() < 2*pageSize:
		return damaged("file was cut to %d bytes", info.Size())
	}
	var file *os.File
	m.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockTimeout, ReadOnly: true, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, _ int, _ fs.FileMode) (*os.File, error) {
			file, err = os.OpenFile(name, os.O_RDONLY|noFollow, 0)
			return file, err
		},
	})
	if err != nil {
		m.db = nil
		if file != nil {
			_ = file.Close() // again, unless bbolt left it open
		}
		return openError(err)
	}
	log := &wal{path: path}
	return m.db.View(func(tx *bbolt.Tx) error {
		if info.Size() < tx.Size() {
			return damaged("file was cut: %d bytes of %d", info.Size(), tx.Size())
		}
		if err := verifyFile(tx, id); err != nil {
			return err
		}
		s := &snapshot{file: &fileView{tx: tx}, seq: newest}
		if m.head, err = verifyHead(s, id, sealer); err != nil {
			return err
		}
		gens, err := log.recover(s.get(bucketMeta, metaLog), m.head.Revision)
		if err != nil {
			return err
		}
		slices.Reverse(gens)
		m.gens, s.gens = gens, gens
		if m.head, err = verifyHead(s, id, sealer); err != nil {
			return err
		}
		return verifyLog(s, m.head, sealer)
	})
}
