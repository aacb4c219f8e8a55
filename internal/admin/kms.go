package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/node"
)

// The operations on master keys.
const (
	opKMSStatus         = "kms-status"
	opKMSList           = "kms-list"
	opKMSCreate         = "kms-create"
	opKMSDescribe       = "kms-describe"
	opKMSUpdate         = "kms-update"
	opKMSRotate         = "kms-rotate"
	opKMSEnable         = "kms-enable"
	opKMSDisable        = "kms-disable"
	opKMSDelete         = "kms-schedule-deletion"
	opKMSCancelDeletion = "kms-cancel-deletion"
)

// KMSKeyRequest names a master key, and says what to do with it where the
// operation leaves that open.
type KMSKeyRequest struct {
	Provider string         `json:"provider,omitempty"` // "": the one that has the key; a new key: local
	KeyID    string         `json:"key_id"`             // or PROVIDER/KEY, without Provider
	Options  efs.KeyOptions `json:"options,omitzero"`   // create, update
	Wait     time.Duration  `json:"wait,omitempty"`     // schedule-deletion, nanoseconds; 0: the server's
	Force    bool           `json:"force,omitempty"`    // schedule-deletion of a key that wraps keys
}

// KMSList are master keys, and what kept others from being listed.
type KMSList struct {
	Keys     []node.KeyStatus `json:"keys"`
	Problems []string         `json:"problems,omitempty"`
}

func init() {
	operations[opKMSStatus] = typed(kmsStatus)
	operations[opKMSList] = typed(kmsList)
	operations[opKMSCreate] = onKey(toLocal, func(ctx context.Context, n *node.Node, r KMSKeyRequest) (node.KeyStatus, error) {
		return n.CreateKey(ctx, r.Provider, r.KeyID, r.Options)
	})
	operations[opKMSDescribe] = onKey(toOwner, func(ctx context.Context, n *node.Node, r KMSKeyRequest) (node.KeyStatus, error) {
		return n.DescribeKey(ctx, r.Provider, r.KeyID)
	})
	operations[opKMSUpdate] = onKey(toOwner, func(ctx context.Context, n *node.Node, r KMSKeyRequest) (node.KeyStatus, error) {
		return n.UpdateKey(ctx, r.Provider, r.KeyID, r.Options)
	})
	operations[opKMSRotate] = onKey(toOwner, func(ctx context.Context, n *node.Node, r KMSKeyRequest) (node.KeyStatus, error) {
		return n.RotateKey(ctx, r.Provider, r.KeyID)
	})
	operations[opKMSEnable] = onKey(toOwner, func(ctx context.Context, n *node.Node, r KMSKeyRequest) (node.KeyStatus, error) {
		return n.EnableKey(ctx, r.Provider, r.KeyID)
	})
	operations[opKMSDisable] = onKey(toOwner, func(ctx context.Context, n *node.Node, r KMSKeyRequest) (node.KeyStatus, error) {
		return n.DisableKey(ctx, r.Provider, r.KeyID)
	})
	operations[opKMSDelete] = onKey(toOwner, func(ctx context.Context, n *node.Node, r KMSKeyRequest) (node.KeyStatus, error) {
		return n.ScheduleKeyDeletion(ctx, r.Provider, r.KeyID, cmp.Or(r.Wait, n.DeletionWait()), r.Force)
	})
	operations[opKMSCancelDeletion] = onKey(toOwner, func(ctx context.Context, n *node.Node, r KMSKeyRequest) (node.KeyStatus, error) {
		return n.CancelKeyDeletion(ctx, r.Provider, r.KeyID)
	})
}

func toLocal(context.Context, *node.Node, string) (string, error) { return node.LocalProvider, nil }

func toOwner(ctx context.Context, n *node.Node, id string) (string, error) {
	return n.ProviderOf(ctx, id)
}

func kmsStatus(ctx context.Context, s *Server, _ *stream, _ none) (any, error) {
	if err := s.node.Serving(); err != nil {
		return nil, err
	}
	return s.node.KMSStatus(ctx), nil
}

// kmsList lists what can be listed: a KMS that is away does not hide the keys
// of the others.
func kmsList(ctx context.Context, s *Server, _ *stream, r KMSKeyRequest) (any, error) {
	keys, err := s.node.ListKeys(ctx, r.Provider)
	if err != nil && len(keys) == 0 {
		return nil, err
	}
	list := KMSList{Keys: keys}
	if err != nil {
		list.Problems = strings.Split(err.Error(), "\n")
	}
	return list, nil
}

// splitKey reads PROVIDER/KEY. The ids of some providers hold slashes
// themselves: only what a provider is called is taken for one.
func splitKey(n *node.Node, id string) (provider, key string) {
	if p, k, ok := strings.Cut(id, "/"); ok && slices.Contains(n.Providers(), p) {
		return p, k
	}
	return "", id
}

// onKey makes an operation on one master key. home says whose key it is where
// the request does not.
func onKey(home func(ctx context.Context, n *node.Node, id string) (string, error), do func(context.Context, *node.Node, KMSKeyRequest) (node.KeyStatus, error)) operation {
	return typed(func(ctx context.Context, s *Server, _ *stream, r KMSKeyRequest) (any, error) {
		if err := s.node.Serving(); err != nil {
			return nil, err
		}
		if r.Provider == "" {
			r.Provider, r.KeyID = splitKey(s.node, r.KeyID)
		}
		if r.Provider == "" {
			var err error
			if r.Provider, err = home(ctx, s.node, r.KeyID); err != nil {
				return nil, err
			}
		}
		return do(ctx, s.node, r)
	})
}

// KMSStatus tells how each KMS is.
func (c *Client) KMSStatus(ctx context.Context) ([]node.KMSStatus, error) {
	return call[[]node.KMSStatus](ctx, c, opKMSStatus, none{})
}

// ListKeys lists the master keys of a provider, or of all ("").
func (c *Client) ListKeys(ctx context.Context, provider string) (KMSList, error) {
	return call[KMSList](ctx, c, opKMSList, KMSKeyRequest{Provider: provider})
}

// CreateKey makes a master key.
func (c *Client) CreateKey(ctx context.Context, r KMSKeyRequest) (node.KeyStatus, error) {
	return call[node.KeyStatus](ctx, c, opKMSCreate, r)
}

// DescribeKey tells about a master key.
func (c *Client) DescribeKey(ctx context.Context, r KMSKeyRequest) (node.KeyStatus, error) {
	return call[node.KeyStatus](ctx, c, opKMSDescribe, r)
}

// UpdateKey replaces what is said about a master key.
func (c *Client) UpdateKey(ctx context.Context, r KMSKeyRequest) (node.KeyStatus, error) {
	return call[node.KeyStatus](ctx, c, opKMSUpdate, r)
}

// RotateKey adds a version to a master key.
func (c *Client) RotateKey(ctx context.Context, r KMSKeyRequest) (node.KeyStatus, error) {
	return call[node.KeyStatus](ctx, c, opKMSRotate, r)
}

// EnableKey lets a disabled master key be used again.
func (c *Client) EnableKey(ctx context.Context, r KMSKeyRequest) (node.KeyStatus, error) {
	return call[node.KeyStatus](ctx, c, opKMSEnable, r)
}

// DisableKey ends the use of a master key, at once.
func (c *Client) DisableKey(ctx context.Context, r KMSKeyRequest) (node.KeyStatus, error) {
	return call[node.KeyStatus](ctx, c, opKMSDisable, r)
}

// ScheduleKeyDeletion disables a master key and has it destroyed later.
func (c *Client) ScheduleKeyDeletion(ctx context.Context, r KMSKeyRequest) (node.KeyStatus, error) {
	return call[node.KeyStatus](ctx, c, opKMSDelete, r)
}

// CancelKeyDeletion keeps a master key that was to be destroyed.
func (c *Client) CancelKeyDeletion(ctx context.Context, r KMSKeyRequest) (node.KeyStatus, error) {
	return call[node.KeyStatus](ctx, c, opKMSCancelDeletion, r)
}
