package guard

import (
	"context"
	"time"

	"github.com/efs-project/efs"
)

// Name returns the name of the guarded KMS.
func (g *KMS) Name() string { return g.kms.Name() }

// Wrap is efs.KMS.Wrap, repeated where there was no answer: a wrap that nobody
// has leaves nothing behind.
func (g *KMS) Wrap(ctx context.Context, id string, key []byte, b efs.Binding) ([]byte, error) {
	return call(ctx, g, "wrap", true, func(ctx context.Context) ([]byte, error) { return g.kms.Wrap(ctx, id, key, b) })
}

// Unwrap is efs.KMS.Unwrap, repeated where there was no answer.
func (g *KMS) Unwrap(ctx context.Context, id string, wrapped []byte, b efs.Binding) ([]byte, error) {
	return call(ctx, g, "unwrap", true, func(ctx context.Context) ([]byte, error) { return g.kms.Unwrap(ctx, id, wrapped, b) })
}

// DescribeKey is efs.KMS.DescribeKey, repeated where there was no answer.
func (g *KMS) DescribeKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return g.info(ctx, "describe", true, func(ctx context.Context) (efs.KeyInfo, error) { return g.kms.DescribeKey(ctx, id) })
}

// ListKeys is efs.KMS.ListKeys, repeated where there was no answer.
func (g *KMS) ListKeys(ctx context.Context) ([]efs.KeyInfo, error) {
	return call(ctx, g, "list", true, g.kms.ListKeys)
}

// UpdateKey is efs.KMS.UpdateKey, repeated where there was no answer: what it
// sets it sets again.
func (g *KMS) UpdateKey(ctx context.Context, id string, o efs.KeyOptions) (efs.KeyInfo, error) {
	return g.info(ctx, "update", true, func(ctx context.Context) (efs.KeyInfo, error) { return g.kms.UpdateKey(ctx, id, o) })
}

// EnableKey is efs.KMS.EnableKey, repeated where there was no answer.
func (g *KMS) EnableKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return g.info(ctx, "enable", true, func(ctx context.Context) (efs.KeyInfo, error) { return g.kms.EnableKey(ctx, id) })
}

// DisableKey is efs.KMS.DisableKey, repeated where there was no answer.
func (g *KMS) DisableKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return g.info(ctx, "disable", true, func(ctx context.Context) (efs.KeyInfo, error) { return g.kms.DisableKey(ctx, id) })
}

// CreateKey is efs.KMS.CreateKey, done once: a second try would find the key
// that the first one made, and not know that it is its own.
func (g *KMS) CreateKey(ctx context.Context, id string, o efs.KeyOptions) (efs.KeyInfo, error) {
	return g.info(ctx, "create", false, func(ctx context.Context) (efs.KeyInfo, error) { return g.kms.CreateKey(ctx, id, o) })
}

// RotateKey is efs.KMS.RotateKey, done once: a second try might rotate twice.
func (g *KMS) RotateKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return g.info(ctx, "rotate", false, func(ctx context.Context) (efs.KeyInfo, error) { return g.kms.RotateKey(ctx, id) })
}

// ScheduleDeletion is efs.KMS.ScheduleDeletion, done once.
func (g *KMS) ScheduleDeletion(ctx context.Context, id string, wait time.Duration) (efs.KeyInfo, error) {
	return g.info(ctx, "schedule-deletion", false, func(ctx context.Context) (efs.KeyInfo, error) {
		return g.kms.ScheduleDeletion(ctx, id, wait)
	})
}

// CancelDeletion is efs.KMS.CancelDeletion, done once: a second try would be
// refused where the first one was done.
func (g *KMS) CancelDeletion(ctx context.Context, id string) (efs.KeyInfo, error) {
	return g.info(ctx, "cancel-deletion", false, func(ctx context.Context) (efs.KeyInfo, error) { return g.kms.CancelDeletion(ctx, id) })
}

// Ready is nil if the KMS would answer now. One that is away is not asked.
func (g *KMS) Ready(ctx context.Context) error {
	_, err := call(ctx, g, "ready", false, func(ctx context.Context) (struct{}, error) { return struct{}{}, g.kms.Ready(ctx) })
	return err
}

func (g *KMS) info(ctx context.Context, op string, again bool, f func(context.Context) (efs.KeyInfo, error)) (efs.KeyInfo, error) {
	return call(ctx, g, op, again, f)
}
