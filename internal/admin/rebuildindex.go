package admin

import (
	"context"

	"github.com/efs-project/efs/internal/node"
)

func rebuildIndex(ctx context.Context, s *Server, out *stream, r FSRequest) (any, error) {
	return s.node.RebuildIndex(ctx, r.FS, out.line, out.progress)
}

// RebuildIndex has the server make the index of a file system anew, from its
// journal and its contents.
func (c *Client) RebuildIndex(ctx context.Context, fs string) (node.RebuildResult, error) {
	return call[node.RebuildResult](ctx, c, opRebuildIndex, FSRequest{FS: fs})
}
