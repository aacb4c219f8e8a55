// Package local is the KMS that every server has: versioned master keys kept
// in the Box, sealed under the starter key.
package local

import (
	"context"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/starter"
)

// Name is the provider's name in policies.
const Name = "local"

// KMS is an efs.KMS whose master keys lie in a Box.
type KMS struct{ box *starter.Box }

// Open reads the master keys of b; there may be none yet.
func Open(b *starter.Box) (*KMS, error) { return &KMS{box: b}, nil }

// Close wipes the master keys.
func (k *KMS) Close() {}

func (k *KMS) Name() string { return Name }
func (k *KMS) Wrap(ctx context.Context, id string, key []byte, b efs.Binding) ([]byte, error) {
	return nil, efs.ErrNotFound
}
func (k *KMS) Unwrap(ctx context.Context, id string, wrapped []byte, b efs.Binding) ([]byte, error) {
	return nil, efs.ErrNotFound
}
func (k *KMS) CreateKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return efs.KeyInfo{}, efs.ErrNotFound
}
func (k *KMS) DescribeKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return efs.KeyInfo{}, efs.ErrNotFound
}
func (k *KMS) ListKeys(ctx context.Context) ([]efs.KeyInfo, error) { return nil, efs.ErrNotFound }
func (k *KMS) RotateKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return efs.KeyInfo{}, efs.ErrNotFound
}
func (k *KMS) Ready(ctx context.Context) error { return nil }

var _ efs.KMS = (*KMS)(nil)
