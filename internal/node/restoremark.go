package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
)

// restoringFile marks a directory that a restore has made, and that is removed
// with it if the restore is cut off. What has no mark is somebody's: the volume
// that was missed, mounted again before the next start.
const restoringFile = ".restoring"

func markRestoring(p places, id efs.ID) error {
	for _, top := range p.tops() {
		if err := atomicfile.Write(filepath.Join(top, restoringFile), []byte(id.String()+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func unmarkRestoring(p places) (err error) {
	for _, top := range p.tops() {
		if rerr := os.Remove(filepath.Join(top, restoringFile)); !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr, atomicfile.SyncDir(top))
		}
	}
	return err
}

// removeRestored removes what a restore has begun: marked directories, and
// empty ones, which it made before it could mark them.
func (n *Node) removeRestored(ctx context.Context, rec fsRecord) error {
	p := n.cfg.places(rec.Name)
	tops := p.tops()
	for i := len(tops) - 1; i >= 0; i-- { // one may lie in another
		top := tops[i]
		_, err := os.Lstat(filepath.Join(top, restoringFile))
		switch {
		case err == nil:
			err = removeMarked(ctx, top)
		case errors.Is(err, os.ErrNotExist):
			err = n.removeEmpty(top, p)
		}
		if err == nil {
			err = atomicfile.SyncDir(filepath.Dir(top))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeMarked removes a directory, its mark last.
func removeMarked(ctx context.Context, top string) error {
	names, err := os.ReadDir(top)
	if err != nil {
		return err
	}
	for _, e := range names {
		if e.Name() == restoringFile {
			continue
		}
		if err := removeTree(ctx, filepath.Join(top, e.Name())); err != nil {
			return err
		}
	}
	return removeTree(ctx, top)
}

// removeEmpty removes what buildDirectories made below top, unless there is
// anything in it but a mark that was being written.
func (n *Node) removeEmpty(top string, p places) error {
	if err := atomicfile.CleanUp(top); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, d := range []string{p.files, p.system, top} {
		if d == top || filepath.Dir(d) == top {
			_ = os.Remove(d) // it is not empty, or not there
		}
	}
	if _, err := os.Lstat(top); err == nil {
		n.log.Warn("a directory stays that lies where a restore was cut off: the restore did not make it", "dir", top)
	}
	return nil
}
