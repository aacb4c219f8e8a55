package admin

import (
	"context"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/config"
)

const opReload = "reload"

// Reloaded tells what a reload of the configuration did.
type Reloaded struct {
	Applied      []config.Change `json:"applied"`       // in force now
	NeedsRestart []config.Change `json:"needs_restart"` // in the file, and in force after a restart
	Certificates []string        `json:"certificates"`  // files that were read again
}

// OnReload sets what `efsctl reload` does. Called before Serve.
func (s *Server) OnReload(fn func(ctx context.Context) (Reloaded, error)) { s.reload = fn }

// Reload has the server read its configuration again.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	return call[Reloaded](ctx, c, opReload, none{})
}

func reload(ctx context.Context, s *Server, _ *stream, _ none) (any, error) {
	if s.reload == nil {
		return nil, fmt.Errorf("reloading the configuration: %w", efs.ErrUnsupported)
	}
	return s.reload(ctx)
}
