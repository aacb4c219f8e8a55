package vaultkv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/masterkey"
)

// The time between the scheduling of a deletion and the deletion.
const (
	MinDeletionWait = 24 * time.Hour
	MaxDeletionWait = 30 * 24 * time.Hour
)

// CreateKey makes a master key. efs.ErrExists also for one that was deleted in
// Vault and can come back there.
func (k *KMS) CreateKey(ctx context.Context, id string, o efs.KeyOptions) (efs.KeyInfo, error) {
	if err := errors.Join(masterkey.CheckID(id), o.Check()); err != nil {
		return efs.KeyInfo{}, err
	}
	m, err := newMaster(k.now(), efs.KeyOptions{Description: o.Description, Tags: maps.Clone(o.Tags)})
	if err != nil {
		return efs.KeyInfo{}, err
	}
	m.fetched = k.now()
	k.forget(id) // its revisions may begin anew
	info, err := k.save(ctx, id, m)
	if errors.Is(err, errChanged) {
		return efs.KeyInfo{}, fmt.Errorf("%w: master key %s (if you deleted it in Vault: `vault kv undelete`, or `vault kv metadata delete` for good)", efs.ErrExists, id)
	}
	return info, err
}

// UpdateKey replaces what is said about a master key.
func (k *KMS) UpdateKey(ctx context.Context, id string, o efs.KeyOptions) (efs.KeyInfo, error) {
	if err := o.Check(); err != nil {
		return efs.KeyInfo{}, err
	}
	return k.change(ctx, id, func(m *master) error {
		m.options = efs.KeyOptions{Description: o.Description, Tags: maps.Clone(o.Tags)}
		return nil
	})
}

// RotateKey adds a version; what older versions wrapped still unwraps.
func (k *KMS) RotateKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return k.change(ctx, id, func(m *master) error {
		if err := m.usable(id); err != nil {
			return err
		}
		v, err := newVersion(k.now())
		if err == nil {
			m.versions = append(m.versions, v)
		}
		return err
	})
}

// EnableKey lets a disabled master key wrap and unwrap again.
func (k *KMS) EnableKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return k.set(ctx, id, efs.KeyEnabled)
}

// DisableKey ends wrapping and unwrapping until EnableKey: here at once, in
// other servers when their cached material ends.
func (k *KMS) DisableKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return k.set(ctx, id, efs.KeyDisabled)
}

func (k *KMS) set(ctx context.Context, id string, s efs.KeyState) (efs.KeyInfo, error) {
	return k.change(ctx, id, func(m *master) error {
		if m.state == efs.KeyPendingDeletion {
			return fmt.Errorf("%w: master key %s is to be deleted at %s: cancel that first", efs.ErrRefused, id, m.deleteAt.Format(time.RFC3339))
		}
		m.state = s
		return nil
	})
}

// ScheduleDeletion disables a master key and deletes it when wait is over,
// counted anew for one that is to be deleted already.
func (k *KMS) ScheduleDeletion(ctx context.Context, id string, wait time.Duration) (efs.KeyInfo, error) {
	if wait < MinDeletionWait || wait > MaxDeletionWait {
		return efs.KeyInfo{}, fmt.Errorf("%w: a master key is deleted after 1 to 30 days, not after %s", efs.ErrBadInput, wait)
	}
	return k.change(ctx, id, func(m *master) error {
		m.state, m.deleteAt = efs.KeyPendingDeletion, k.now().Add(wait).UTC().Truncate(time.Microsecond)
		return nil
	})
}

// CancelDeletion leaves a key that was to be deleted disabled.
func (k *KMS) CancelDeletion(ctx context.Context, id string) (efs.KeyInfo, error) {
	return k.change(ctx, id, func(m *master) error {
		if m.state != efs.KeyPendingDeletion {
			return fmt.Errorf("%w: master key %s is not to be deleted", efs.ErrRefused, id)
		}
		m.state, m.deleteAt = efs.KeyDisabled, time.Time{}
		return nil
	})
}

// DescribeKey tells about one master key, in whatever state Vault has it.
func (k *KMS) DescribeKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	m, err := k.fetch(ctx, id)
	if err != nil {
		return efs.KeyInfo{}, err
	}
	info := m.info(k.name, id)
	k.keep(id, m)
	return info, nil
}

// ListKeys tells about all master keys, by id.
func (k *KMS) ListKeys(ctx context.Context) ([]efs.KeyInfo, error) {
	ids, err := k.list(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	infos := []efs.KeyInfo{}
	for _, id := range ids {
		if strings.HasSuffix(id, "/") {
			continue
		}
		info, err := k.DescribeKey(ctx, id)
		switch {
		case errors.Is(err, efs.ErrNotFound): // deleted
		case err != nil:
			return nil, err
		default:
			infos = append(infos, info)
		}
	}
	return infos, nil
}

// sweepEvery is how often deletions that are due are looked for.
const sweepEvery = time.Hour

// keepHouse wipes material that nobody has used for its time to live, and
// deletes keys that are due, also those that nobody asks for any more.
func (k *KMS) keepHouse(ctx context.Context) {
	wipe, sweep := time.NewTicker(max(k.ttl/2, time.Second)), time.NewTicker(sweepEvery)
	defer wipe.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wipe.C:
			k.forgetIf(k.old)
		case <-sweep.C:
			if _, err := k.ListKeys(ctx); err != nil {
				k.log.Warn("looking for master keys that are to be deleted", "provider", k.name, "err", err)
			}
		}
	}
}
