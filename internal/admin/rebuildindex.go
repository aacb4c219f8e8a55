package admin

import (
	"context"

	"github.com/efs-project/efs/internal/node"
)

// RebuildIndexRequest asks for an index to be made anew.
type RebuildIndexRequest struct {
	FS             string `json:"fs"`
	AcceptRollback bool   `json:"accept_rollback,omitempty"` // of users, rights and policy
}

func rebuildIndex(ctx context.Context, s *Server, out *stream, r RebuildIndexRequest) (any, error) {
	return s.node.RebuildIndex(ctx, r.FS, r.AcceptRollback, out.line, out.progress)
}

// RebuildIndex has the server make the index of a file system anew, from its
// journal and its contents.
func (c *Client) RebuildIndex(ctx context.Context, r RebuildIndexRequest) (node.RebuildResult, error) {
	return call[node.RebuildResult](ctx, c, opRebuildIndex, r)
}
