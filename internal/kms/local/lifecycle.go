package local

import (
	"context"
	"fmt"
	"time"

	"github.com/efs-project/efs"
)

// The time between the scheduling of a deletion and the deletion: long enough
// to notice what is missing, and not for ever.
const (
	MinDeletionWait     = 24 * time.Hour
	DefaultDeletionWait = 7 * 24 * time.Hour // where nobody says how long
	MaxDeletionWait     = 30 * 24 * time.Hour
)

// UpdateKey replaces what is said about a master key.
func (k *KMS) UpdateKey(_ context.Context, id string, o efs.KeyOptions) (efs.KeyInfo, error) {
	if err := o.Check(); err != nil {
		return efs.KeyInfo{}, err
	}
	return k.change(id, func(m *master) error {
		m.options = cloneOptions(o)
		return nil
	})
}

// EnableKey lets a disabled master key wrap and unwrap again.
func (k *KMS) EnableKey(_ context.Context, id string) (efs.KeyInfo, error) {
	return k.change(id, func(m *master) error { return m.set(id, efs.KeyEnabled) })
}

// DisableKey ends wrapping and unwrapping until EnableKey.
func (k *KMS) DisableKey(_ context.Context, id string) (efs.KeyInfo, error) {
	return k.change(id, func(m *master) error { return m.set(id, efs.KeyDisabled) })
}

func (m *master) set(id string, s efs.KeyState) error {
	if m.state == efs.KeyPendingDeletion {
		return fmt.Errorf("%w: local master key %s is to be deleted at %s: cancel that first", efs.ErrRefused, id, m.deleteAt.Format(time.RFC3339))
	}
	m.state = s
	return nil
}

// ScheduleDeletion disables a master key and deletes it when wait is over,
// counted anew for one that is to be deleted already.
func (k *KMS) ScheduleDeletion(_ context.Context, id string, wait time.Duration) (efs.KeyInfo, error) {
	if wait < MinDeletionWait || wait > MaxDeletionWait {
		return efs.KeyInfo{}, fmt.Errorf("%w: a local master key is deleted after 1 to 30 days, not after %s", efs.ErrBadInput, wait)
	}
	return k.change(id, func(m *master) error {
		m.state, m.deleteAt = efs.KeyPendingDeletion, k.moment().Add(wait)
		return nil
	})
}

// CancelDeletion leaves a key that was to be deleted disabled.
func (k *KMS) CancelDeletion(_ context.Context, id string) (efs.KeyInfo, error) {
	return k.change(id, func(m *master) error {
		if m.state != efs.KeyPendingDeletion {
			return fmt.Errorf("%w: local master key %s is not to be deleted", efs.ErrRefused, id)
		}
		m.state, m.deleteAt = efs.KeyDisabled, time.Time{}
		return nil
	})
}

// change applies fn to a master key, durably, or leaves it as it was.
func (k *KMS) change(id string, fn func(*master) error) (efs.KeyInfo, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m, err := k.find(id)
	if err != nil {
		return efs.KeyInfo{}, err
	}
	before := *m
	if err := fn(m); err != nil {
		return efs.KeyInfo{}, err
	}
	if err := k.store(k.keys, k.deleted); err != nil {
		*m = before
		return efs.KeyInfo{}, fmt.Errorf("changing local master key %s: %w", id, err)
	}
	return m.info(id), nil
}
