package bolt

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/indextest"
)

var sealer = indextest.Sealer("indextest")

func TestConformance(t *testing.T) {
	indextest.Run(t, func(t *testing.T) indextest.Opener {
		path := filepath.Join(t.TempDir(), "index.db")
		return func() (efs.Index, error) {
			x, err := Open(path, indextest.FS, sealer, Options{})
			if errors.Is(err, efs.ErrNotFound) {
				return Create(path, indextest.FS, sealer, Options{})
			}
			return x, err
		}
	})
}
