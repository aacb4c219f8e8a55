package dir

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/blob/blobtest"
)

func TestConformance(t *testing.T) {
	for name, fanOut := range map[string]int{"chosen": 0, "three levels": 3} {
		t.Run(name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blobtest.Opener {
				root := filepath.Join(t.TempDir(), "files")
				return func() (efs.Blobs, error) {
					s, err := Open(root, Options{})
					if errors.Is(err, efs.ErrNotFound) {
						return Create(root, Options{FanOut: fanOut})
					}
					return s, err
				}
			})
		})
	}
}
