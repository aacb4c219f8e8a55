package starter

import (
	"github.com/efs-project/efs"
)

// RootInfo tells the id of the root in dir and the number of its starter key,
// as root.json has them: unproven until the key opens it. efs.ErrNotFound,
// efs.ErrDamaged.
func RootInfo(dir string) (root efs.ID, generation uint32, err error) {
	doc, err := readRoot(dir)
	if err != nil {
		return root, 0, err
	}
	return doc.Root, doc.starter().Generation, nil
}
