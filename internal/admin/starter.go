package admin

import (
	"context"

	"github.com/efs-project/efs/internal/node"
)

// initialise sends the key as a line, not as its result: it must have left
// before anything is sealed under it.
func initialise(ctx context.Context, s *Server, out *stream, r InitRequest) (any, error) {
	return none{}, s.node.InitAs(ctx, r.StarterForm, out.lines)
}

// lines sends each line, and its error.
func (o *stream) lines(all []string) error {
	for _, line := range all {
		if err := o.send(Event{Line: &line}); err != nil {
			return err
		}
	}
	return nil
}

func unseal(ctx context.Context, s *Server, out *stream, r UnsealRequest) (any, error) {
	var done UnsealResult
	var err error
	switch {
	case r.Reset:
		done.Have = s.node.ResetUnseal()
	case r.Share != "":
		done.Have, done.Need, err = s.node.UnsealShare(ctx, r.Share)
	case r.Passphrase != "":
		err = s.node.UnsealPassphrase(ctx, []byte(r.Passphrase))
	default:
		err = s.node.Unseal(ctx, r.StarterKey)
	}
	return done, err
}

func rotateStarter(ctx context.Context, s *Server, out *stream, r RotateStarterRequest) (any, error) {
	number, err := s.node.RotateStarter(ctx, node.StarterRotation{StarterForm: r.StarterForm, Key: r.Key, Passphrase: []byte(r.Passphrase)}, out.lines)
	return RotateStarterResult{number}, err
}

// Init makes the starter key of an empty root and returns it. It is shown this
// once: also when an error comes with it, since the root may be initialised.
func (c *Client) Init(ctx context.Context) (starterKey string, err error) {
	lines, err := c.InitAs(ctx, node.StarterForm{})
	if len(lines) > 0 {
		starterKey = lines[0]
	}
	return starterKey, err
}

// InitAs is Init for a key in some form: it returns the key, or its shares.
func (c *Client) InitAs(ctx context.Context, f node.StarterForm) (lines []string, err error) {
	follow := *c
	follow.Line = func(line string) { lines = append(lines, line) }
	_, err = call[none](ctx, &follow, opInit, InitRequest{f})
	return lines, err
}

// Unseal hands a sealed server its starter key, its passphrase, or a share.
func (c *Client) Unseal(ctx context.Context, r UnsealRequest) (UnsealResult, error) {
	return call[UnsealResult](ctx, c, opUnseal, r)
}

// RotateStarter puts the root under another starter key and returns what is
// shown of it this once: also with an error.
func (c *Client) RotateStarter(ctx context.Context, r RotateStarterRequest) (lines []string, done RotateStarterResult, err error) {
	follow := *c
	follow.Line = func(line string) { lines = append(lines, line) }
	done, err = call[RotateStarterResult](ctx, &follow, opRotateStarter, r)
	return lines, done, err
}
