// Package cloud is what the KMSs of clouds have in common for EFS: keys are
// wrapped and unwrapped there, under master keys that are made, rotated,
// disabled and deleted with the cloud's own tools. The configuration gives the
// master keys that EFS may use short names.
package cloud

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/kms/masterkey"
	"github.com/efs-project/efs/internal/secret"
)

const (
	bindingLabel = "efs kms-cloud wrap\x00"
	wrapFormat   = 1 // the first byte of the wrapped form; the rest is the cloud's
	plainSize    = secret.Size + sha256.Size
)

// Backend is one cloud. Its errors wrap those of package efs that they mean.
type Backend interface {
	// Encrypt encrypts 64 bytes under a master key. What they are for, b and
	// its encoding info, is authenticated if the cloud can do that.
	Encrypt(ctx context.Context, resource string, plaintext []byte, b efs.Binding, info []byte) ([]byte, error)
	// Decrypt is the reverse. efs.ErrWrongKey.
	Decrypt(ctx context.Context, resource string, ciphertext []byte, b efs.Binding, info []byte) ([]byte, error)
	// Describe tells about a master key; id and provider are filled in.
	Describe(ctx context.Context, resource string) (efs.KeyInfo, error)
	Close() error
}

// KMS is an efs.KMS over a cloud's.
type KMS struct {
	name    string
	tools   string // the cloud's, for errors
	keys    map[string]string
	backend Backend
}

var _ efs.KMS = (*KMS)(nil)

// CheckKeys reports what is wrong with the names of master keys.
func CheckKeys(keys map[string]string) error {
	if len(keys) == 0 {
		return errors.New("keys is missing: which master keys may be used, and what EFS calls them")
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		err := masterkey.CheckID(id)
		if err == nil && keys[id] == "" {
			err = fmt.Errorf("keys: %s says not which key it is", id)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// New returns the KMS of a cloud. tools name what manages its keys.
func New(name, tools string, keys map[string]string, b Backend) *KMS {
	return &KMS{name: name, tools: tools, keys: maps.Clone(keys), backend: b}
}

// Close ends the connection to the cloud.
func (k *KMS) Close() error { return k.backend.Close() }

// Name is the name in the configuration.
func (k *KMS) Name() string { return k.name }

// Ready is nil if the cloud tells about a master key, or that there is none.
func (k *KMS) Ready(ctx context.Context) error {
	_, err := k.DescribeKey(ctx, slices.Min(slices.Collect(maps.Keys(k.keys))))
	if errors.Is(err, efs.ErrNotFound) {
		return nil
	}
	return err
}

// Wrap has the cloud encrypt key ‖ SHA-256(binding): not every cloud
// authenticates what something is for.
func (k *KMS) Wrap(ctx context.Context, id string, key []byte, b efs.Binding) ([]byte, error) {
	if err := masterkey.CheckKey(key); err != nil {
		return nil, err
	}
	resource, err := k.resource(id)
	if err != nil {
		return nil, err
	}
	info, sum, err := bound(id, b)
	if err != nil {
		return nil, err
	}
	plaintext := append(append(make([]byte, 0, plainSize), key...), sum[:]...)
	defer secret.Wipe(plaintext)
	ciphertext, err := k.backend.Encrypt(ctx, resource, plaintext, b, info)
	if err != nil {
		return nil, k.failed("wrapping under", id, err)
	}
	return append([]byte{wrapFormat}, ciphertext...), nil
}

// Unwrap opens what Wrap made with the same id and binding. The caller wipes
// the result.
func (k *KMS) Unwrap(ctx context.Context, id string, wrapped []byte, b efs.Binding) ([]byte, error) {
	resource, err := k.resource(id)
	if err != nil {
		return nil, err
	}
	if len(wrapped) < 1+plainSize || wrapped[0] != wrapFormat {
		return nil, masterkey.NotOf(id)
	}
	info, sum, err := bound(id, b)
	if err != nil {
		return nil, err
	}
	plaintext, err := k.backend.Decrypt(ctx, resource, wrapped[1:], b, info)
	if errors.Is(err, efs.ErrWrongKey) {
		return nil, masterkey.NotOf(id)
	}
	if err != nil {
		return nil, k.failed("unwrapping with", id, err)
	}
	if len(plaintext) != plainSize || subtle.ConstantTimeCompare(plaintext[secret.Size:], sum[:]) != 1 {
		secret.Wipe(plaintext)
		return nil, masterkey.NotOf(id)
	}
	return plaintext[:secret.Size], nil
}

func bound(id string, b efs.Binding) (info []byte, sum [sha256.Size]byte, err error) {
	body, err := detcbor.Marshal([]any{id, b})
	if err != nil {
		return nil, sum, err
	}
	info = append([]byte(bindingLabel), body...)
	return info, sha256.Sum256(info), nil
}

func (k *KMS) resource(id string) (string, error) {
	if r, ok := k.keys[id]; ok {
		return r, nil
	}
	return "", fmt.Errorf("%w: the configuration of KMS %s names no master key %s", efs.ErrNotFound, k.name, id)
}

func (k *KMS) failed(doing, id string, err error) error {
	return fmt.Errorf("%s master key %s of KMS %s: %w", doing, id, k.name, err)
}

// DescribeKey tells about one of the configured master keys.
func (k *KMS) DescribeKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	resource, err := k.resource(id)
	if err != nil {
		return efs.KeyInfo{}, err
	}
	info, err := k.backend.Describe(ctx, resource)
	if err != nil {
		return efs.KeyInfo{}, k.failed("describing", id, err)
	}
	info.ID, info.Provider = id, k.name
	return info, nil
}

// ListKeys tells about the configured master keys that there are, by id.
func (k *KMS) ListKeys(ctx context.Context) ([]efs.KeyInfo, error) {
	infos := []efs.KeyInfo{}
	for _, id := range slices.Sorted(maps.Keys(k.keys)) {
		info, err := k.DescribeKey(ctx, id)
		switch {
		case errors.Is(err, efs.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			infos = append(infos, info)
		}
	}
	return infos, nil
}

func (k *KMS) unsupported(what string) (efs.KeyInfo, error) {
	return efs.KeyInfo{}, fmt.Errorf("%w: %s is done with %s", efs.ErrUnsupported, what, k.tools)
}

// CreateKey is efs.ErrUnsupported.
func (k *KMS) CreateKey(context.Context, string, efs.KeyOptions) (efs.KeyInfo, error) {
	return k.unsupported("making a master key (and naming it in the configuration)")
}

// UpdateKey is efs.ErrUnsupported.
func (k *KMS) UpdateKey(context.Context, string, efs.KeyOptions) (efs.KeyInfo, error) {
	return k.unsupported("describing and tagging a master key")
}

// RotateKey is efs.ErrUnsupported.
func (k *KMS) RotateKey(context.Context, string) (efs.KeyInfo, error) {
	return k.unsupported("rotating a master key")
}

// EnableKey is efs.ErrUnsupported.
func (k *KMS) EnableKey(context.Context, string) (efs.KeyInfo, error) {
	return k.unsupported("enabling a master key")
}

// DisableKey is efs.ErrUnsupported.
func (k *KMS) DisableKey(context.Context, string) (efs.KeyInfo, error) {
	return k.unsupported("disabling a master key")
}

// ScheduleDeletion is efs.ErrUnsupported.
func (k *KMS) ScheduleDeletion(context.Context, string, time.Duration) (efs.KeyInfo, error) {
	return k.unsupported("deleting a master key")
}

// CancelDeletion is efs.ErrUnsupported.
func (k *KMS) CancelDeletion(context.Context, string) (efs.KeyInfo, error) {
	return k.unsupported("keeping a master key that is to be deleted")
}

// Unsupported are the methods that are efs.ErrUnsupported in every cloud.
var Unsupported = []string{"CreateKey", "UpdateKey", "RotateKey", "EnableKey", "DisableKey", "ScheduleDeletion", "CancelDeletion"}
