package admin

import (
	"context"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/node"
)

// initialise hands the key over, and seals nothing under it before it has
// arrived.
func initialise(ctx context.Context, s *Server, out *stream, r InitRequest) (any, error) {
	if r.From != "" {
		return none{}, s.node.InitFrom(ctx, r.From)
	}
	return none{}, s.node.InitAs(ctx, r.StarterForm, s.shower(ctx, out))
}

func (s *Server) shower(ctx context.Context, out *stream) func([][]byte) error {
	return func(lines [][]byte) error { return s.secrets.show(ctx, out, lines) }
}

func unseal(ctx context.Context, s *Server, _ *stream, r UnsealRequest) (any, error) {
	if r.Reset {
		return UnsealResult{Have: s.node.ResetUnseal()}, nil
	}
	secret, err := s.secrets.take(r.Secret)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	var done UnsealResult
	switch r.As {
	case AsKey:
		err = s.node.Unseal(ctx, secret)
	case AsPassphrase:
		err = s.node.UnsealPassphrase(ctx, secret)
	case AsShare:
		done.Have, done.Need, err = s.node.UnsealShare(ctx, secret)
	default:
		err = fmt.Errorf("%w: a root is not opened by a %q", efs.ErrBadInput, r.As)
	}
	return done, err
}

func rotateStarter(ctx context.Context, s *Server, out *stream, r RotateStarterRequest) (any, error) {
	change := node.StarterRotation{StarterForm: r.StarterForm, Key: r.Key}
	if r.Passphrase != "" {
		var err error
		if change.Passphrase, err = s.secrets.take(r.Passphrase); err != nil {
			return nil, err
		}
	}
	number, err := s.node.RotateStarter(ctx, change, s.shower(ctx, out))
	return RotateStarterResult{number}, err
}

// InitAs makes the starter key of an empty root and returns it, or its shares.
// They are shown this once: also when an error comes with them, since the root
// may be initialised.
func (c *Client) InitAs(ctx context.Context, f node.StarterForm) (lines []string, err error) {
	follow := c.collecting(&lines)
	_, err = call[none](ctx, follow, opInit, InitRequest{StarterForm: f})
	return lines, err
}

// InitFrom begins an empty root with the keys in a file, as the server sees it.
func (c *Client) InitFrom(ctx context.Context, path string) error {
	_, err := call[none](ctx, c, opInit, InitRequest{From: path})
	return err
}

// collecting is c with a place for what is shown once.
func (c *Client) collecting(lines *[]string) *Client {
	follow := *c
	follow.secret = func(line string) { *lines = append(*lines, line) }
	return &follow
}

// Unseal hands a sealed server its starter key, its passphrase, or a share.
func (c *Client) Unseal(ctx context.Context, as string, secret []byte) (UnsealResult, error) {
	n, err := handOver(ctx, c.root, secret)
	if err != nil {
		return UnsealResult{}, c.connectError(err)
	}
	return call[UnsealResult](ctx, c, opUnseal, UnsealRequest{Secret: n, As: as})
}

// ResetUnseal forgets the shares that were given, and returns how many.
func (c *Client) ResetUnseal(ctx context.Context) (forgotten int, err error) {
	done, err := call[UnsealResult](ctx, c, opUnseal, UnsealRequest{Reset: true})
	return done.Have, err
}

// RotateStarter puts the root under another starter key, made from a
// passphrase unless that is nil, and returns what is shown of it this once:
// also with an error.
func (c *Client) RotateStarter(ctx context.Context, r RotateStarterRequest, passphrase []byte) (lines []string, done RotateStarterResult, err error) {
	if passphrase != nil {
		if r.Passphrase, err = handOver(ctx, c.root, passphrase); err != nil {
			return nil, done, c.connectError(err)
		}
	}
	done, err = call[RotateStarterResult](ctx, c.collecting(&lines), opRotateStarter, r)
	return lines, done, err
}
