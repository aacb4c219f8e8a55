package admin

import (
	"context"
	"encoding/json"

	"github.com/efs-project/efs/internal/fsys"
)

// ForgetRequest asks that an erasure unit, or all below a directory, be
// forgotten.
type ForgetRequest struct {
	FS     string `json:"fs"`
	Path   string `json:"path"`
	Reason string `json:"reason,omitempty"` // kept in the receipt, in clear
}

// ForgetResult is what was done.
type ForgetResult struct {
	Receipt json.RawMessage `json:"receipt"` // signed: package receipt
	Salt    []byte          `json:"salt"`    // kept nowhere else: shows which path the receipt is about
}

func forget(ctx context.Context, s *Server, _ *stream, r ForgetRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	who, _ := ctx.Value(peerKey{}).(string)
	done, err := f.Forget(ctx, fsys.Who{User: who}, r.Path, r.Reason)
	if err != nil {
		return nil, err
	}
	return ForgetResult{Receipt: done.Receipt, Salt: done.Salt}, nil
}

func receipts(ctx context.Context, s *Server, _ *stream, r FSRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	all, err := f.Receipts(ctx)
	documents := make([]json.RawMessage, len(all))
	for i := range all {
		documents[i] = all[i]
	}
	return documents, err
}

// publicKey is a public key in a result.
type publicKey struct {
	Key []byte `json:"key"`
}

func receiptKey(_ context.Context, s *Server, _ *stream, _ none) (any, error) {
	key, err := s.node.ReceiptKey()
	return publicKey{key}, err
}

// forLog is what the log tells of a failure: of a command about a path the kind
// alone, as the log has no clear paths.
func forLog(command string, err error) string {
	if command == opForget {
		return outcomeOf(err)
	}
	return err.Error()
}

// Forget forgets an erasure unit, or all below a directory.
func (c *Client) Forget(ctx context.Context, r ForgetRequest) (ForgetResult, error) {
	return call[ForgetResult](ctx, c, opForget, r)
}

// Receipts returns the signed receipts of all that was forgotten in a file
// system, oldest first.
func (c *Client) Receipts(ctx context.Context, fs string) ([]json.RawMessage, error) {
	return call[[]json.RawMessage](ctx, c, opReceipts, FSRequest{FS: fs})
}

// ReceiptKey returns the public key that receipts are verified with.
func (c *Client) ReceiptKey(ctx context.Context) ([]byte, error) {
	k, err := call[publicKey](ctx, c, opReceiptKey, none{})
	return k.Key, err
}
