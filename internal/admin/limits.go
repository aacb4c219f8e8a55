package admin

import (
	"context"
	"errors"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
)

const opLimit = "limit"

// LimitRequest sets the limits of a user, or of all users without limits of
// their own (User ""). Without Set and Drop they are only told.
type LimitRequest struct {
	FS   string         `json:"fs"`
	User string         `json:"user,omitempty"`
	Set  *access.Limits `json:"set,omitempty"`
	Drop bool           `json:"drop,omitempty"`
}

// Limit sets, drops or tells limits; it returns those that are set after, by
// user, "" standing for all without limits of their own.
func (c *Client) Limit(ctx context.Context, r LimitRequest) (map[string]access.Limits, error) {
	return call[map[string]access.Limits](ctx, c, opLimit, r)
}

func init() { operations[opLimit] = typed(limit) }

func limit(ctx context.Context, s *Server, _ *stream, r LimitRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	if r.User != "" {
		if _, err := f.Users.GetUser(ctx, r.User); err != nil {
			return nil, err
		}
	}
	switch {
	case r.Drop:
		if err := f.Users.DropLimits(ctx, r.User); err != nil && !errors.Is(err, efs.ErrNotFound) {
			return nil, err
		}
	case r.Set != nil:
		if err := f.Users.SetLimits(ctx, r.User, *r.Set); err != nil {
			return nil, err
		}
	}
	return f.Users.Limits(), nil
}
