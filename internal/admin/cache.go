package admin

import (
	"context"

	"github.com/efs-project/efs/internal/node"
)

const opClearCache = "clear-cache"

// ClearCache drops and overwrites the decrypted files that the server keeps.
func (c *Client) ClearCache(ctx context.Context) (node.CacheCleared, error) {
	return call[node.CacheCleared](ctx, c, opClearCache, none{})
}

func clearCache(_ context.Context, s *Server, _ *stream, _ none) (any, error) {
	return s.node.ClearCache(), nil
}
