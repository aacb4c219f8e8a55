package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/kms/local"
)

// RotateFS begins a new epoch of a file system's keys: what is written from now
// on is sealed with it. It returns the epoch's number.
func (n *Node) RotateFS(ctx context.Context, name string) (epoch int, err error) {
	f, err := n.FS(name)
	if err != nil {
		return 0, err
	}
	return f.parts.keys.Rotate(ctx)
}

// Epochs describes the epochs of a file system's keys, oldest first.
func (n *Node) Epochs(name string) ([]keyring.EpochInfo, error) {
	f, err := n.FS(name)
	if err != nil {
		return nil, err
	}
	return f.parts.keys.Epochs(), nil
}

// KeyRotation tells what became of a master key.
type KeyRotation struct {
	KeyStatus
	Rewrapped int `json:"rewrapped"` // keys that its newest version wraps from now on
}

// RotateMaster adds a version to a master key in its KMS (unless rewrapOnly)
// and wraps everything under it anew with the newest version. No file is
// touched. What was cut off goes on at the next start. provider "" finds the
// one KMS that has the key. progress may be nil.
func (n *Node) RotateMaster(ctx context.Context, provider, id string, rewrapOnly bool, progress func(done, total int64)) (KeyRotation, error) {
	if err := n.Serving(); err != nil {
		return KeyRotation{}, err
	}
	provider, err := n.providerOf(ctx, provider, id)
	if err != nil {
		return KeyRotation{}, err
	}
	var r KeyRotation
	if rewrapOnly {
		r.KeyStatus, err = n.DescribeKey(ctx, provider, id)
	} else {
		r.KeyStatus, err = n.RotateKey(ctx, provider, id)
	}
	if err != nil {
		return r, err
	}
	r.Rewrapped, err = n.secrets().ring.Rewrap(ctx, provider, id, progress)
	if err == nil {
		err = n.rewrapStarter(ctx, provider, id)
	}
	if err != nil {
		return r, fmt.Errorf("%w\n%d keys are wrapped anew, all others open as before; `efsctl rotate-kms %s --provider %s --rewrap-only` goes on, and so does the next start",
			err, r.Rewrapped, id, provider)
	}
	return r, nil
}

// providerOf finds the KMS of a key that was named without one.
func (n *Node) providerOf(ctx context.Context, provider, id string) (string, error) {
	if provider != "" {
		return provider, nil
	}
	found, err := n.FindKey(ctx, id)
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", fmt.Errorf("key %s: %w in any KMS: this server has %s", id, efs.ErrNotFound, strings.Join(n.Providers(), ", "))
	case len(found) > 1:
		return "", fmt.Errorf("%w: key %s is in more than one KMS (%s): say which with --provider", efs.ErrBadInput, id, strings.Join(found, ", "))
	}
	return cmp.Or(found[0], local.Name), nil
}

// resumeRewraps finishes the wrapping anew that the last stop cut off.
func (n *Node) resumeRewraps(ctx context.Context) {
	ring := n.secrets().ring
	pending, err := ring.PendingRewraps()
	for _, m := range pending {
		n.log.Info("going on with wrapping keys anew", "provider", m.Provider, "key", m.KeyID)
	}
	if err == nil {
		err = ring.ResumeRewraps(ctx)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		n.log.Error("wrapping keys anew did not end; the next start goes on", "err", err)
	}
}

// exportKeys writes the copies of a file system's keys again after they
// changed. Where that fails, the next start mends it.
func (n *Node) exportKeys(k *keyring.Keys, systemDir string) {
	if err := k.Export(systemDir); err != nil {
		n.log.Error("the copies of a file system's keys are not up to date", "fs", k.Name(), "err", err)
	}
}
