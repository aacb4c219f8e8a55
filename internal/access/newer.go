package access

import (
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
)

// errNewer: what cannot be read is whole, but this program is too old for it.
var errNewer = errors.New("written by a newer EFS, start that one")

// unreadable says why a record cannot be read: it has a newer format than the
// one that is known, or it is damaged. Every record has its format under key 1.
func unreadable(b []byte, known int) error {
	var record struct {
		Format int `cbor:"1,keyasint"`
	}
	if err := detcbor.UnmarshalKnown(b, &record); err == nil && record.Format > known {
		return fmt.Errorf("format %d, this program knows %d: %w: %w", record.Format, known, errNewer, efs.ErrDamaged)
	}
	return efs.ErrDamaged
}
