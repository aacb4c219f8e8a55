package admin

import (
	"context"

	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/node"
)

// RotateResult tells of a new epoch.
type RotateResult struct {
	FS    string `json:"fs"`
	Epoch int    `json:"epoch"`
}

// RotateKMSRequest asks for a new version of a master key and for everything
// under it to be wrapped anew.
type RotateKMSRequest struct {
	Provider   string `json:"provider,omitempty"`    // "": the KMS that has the key
	Key        string `json:"key"`                   // without a provider also PROVIDER/KEY
	RewrapOnly bool   `json:"rewrap_only,omitempty"` // with the newest version that there is
}

func rotate(ctx context.Context, s *Server, _ *stream, r FSRequest) (any, error) {
	epoch, err := s.node.RotateFS(ctx, r.FS)
	return RotateResult{r.FS, epoch}, err
}

func epochs(_ context.Context, s *Server, _ *stream, r FSRequest) (any, error) {
	return s.node.Epochs(r.FS)
}

func rotateKMS(ctx context.Context, s *Server, out *stream, r RotateKMSRequest) (any, error) {
	if r.Provider == "" {
		r.Provider, r.Key = splitKey(s.node, r.Key)
	}
	return s.node.RotateMaster(ctx, r.Provider, r.Key, r.RewrapOnly, out.progress)
}

// Rotate begins a new epoch of a file system's keys.
func (c *Client) Rotate(ctx context.Context, fs string) (RotateResult, error) {
	return call[RotateResult](ctx, c, opRotate, FSRequest{FS: fs})
}

// Epochs describes the epochs of a file system's keys, oldest first.
func (c *Client) Epochs(ctx context.Context, fs string) ([]keyring.EpochInfo, error) {
	return call[[]keyring.EpochInfo](ctx, c, opEpochs, FSRequest{FS: fs})
}

// RotateKMS rotates a master key and wraps everything under it anew.
func (c *Client) RotateKMS(ctx context.Context, r RotateKMSRequest) (node.KeyRotation, error) {
	return call[node.KeyRotation](ctx, c, opRotateKMS, r)
}
