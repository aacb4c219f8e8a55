//go:build pkcs11

package pkcs11

import (
	"context"
	"fmt"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/miekg/pkcs11"
)

// UpdateKey replaces what is said about a master key.
func (k *KMS) UpdateKey(ctx context.Context, id string, o efs.KeyOptions) (efs.KeyInfo, error) {
	if err := o.Check(); err != nil {
		return efs.KeyInfo{}, err
	}
	return k.change(ctx, id, func(r *record) error {
		r.Description, r.Tags = o.Description, o.Tags
		return nil
	})
}

// EnableKey lets a disabled master key wrap and unwrap again.
func (k *KMS) EnableKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return k.change(ctx, id, func(r *record) error { return r.set(id, efs.KeyEnabled) })
}

// DisableKey ends wrapping and unwrapping by EFS until EnableKey.
func (k *KMS) DisableKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return k.change(ctx, id, func(r *record) error { return r.set(id, efs.KeyDisabled) })
}

func (r *record) set(id string, s efs.KeyState) error {
	if r.State == efs.KeyPendingDeletion {
		return fmt.Errorf("%w: master key %s is to be deleted at %s: cancel that first", efs.ErrRefused, id, r.deleteAt().Format(time.RFC3339))
	}
	r.State = s
	return nil
}

// ScheduleDeletion disables a master key, and destroys all its versions on the
// token when wait, 1 to 30 days, is over and EFS runs.
func (k *KMS) ScheduleDeletion(ctx context.Context, id string, wait time.Duration) (efs.KeyInfo, error) {
	if k.c.State != "none" && (wait < local.MinDeletionWait || wait > local.MaxDeletionWait) {
		return efs.KeyInfo{}, fmt.Errorf("%w: a master key of KMS %s is deleted after 1 to 30 days, not after %s", efs.ErrBadInput, k.name, wait)
	}
	return k.change(ctx, id, func(r *record) error {
		r.State, r.DeleteAt = efs.KeyPendingDeletion, k.moment().Add(wait).UnixMicro()
		return nil
	})
}

// CancelDeletion leaves a key that was to be deleted disabled.
func (k *KMS) CancelDeletion(ctx context.Context, id string) (efs.KeyInfo, error) {
	return k.change(ctx, id, func(r *record) error {
		if r.State != efs.KeyPendingDeletion {
			return fmt.Errorf("%w: master key %s of KMS %s is not to be deleted", efs.ErrRefused, id, k.name)
		}
		r.State, r.DeleteAt = efs.KeyDisabled, 0
		return nil
	})
}

// change applies fn to what is said about a master key.
func (k *KMS) change(ctx context.Context, id string, fn func(*record) error) (efs.KeyInfo, error) {
	if k.c.State == "none" {
		return efs.KeyInfo{}, k.stateless()
	}
	return k.on(ctx, func(s *session) (efs.KeyInfo, error) {
		key, err := k.key(s, id)
		if err != nil {
			return efs.KeyInfo{}, err
		}
		if err := fn(&key.record); err != nil {
			return efs.KeyInfo{}, err
		}
		if err := s.say(id, key.record, key.objects); err != nil {
			return efs.KeyInfo{}, err
		}
		return k.describe(s, id)
	})
}

func (k *KMS) stateless() error {
	return fmt.Errorf("%w: KMS %s keeps no states, descriptions and tags (state = \"none\"): use the token's own tools", efs.ErrUnsupported, k.name)
}

// sweeper destroys master keys whose time is over.
func (k *KMS) sweeper(ctx context.Context, every time.Duration) {
	if k.c.State == "none" {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		// What fails, as when the token is away, is tried again.
		_, _ = ask(ctx, k.token, nil, func(s *session) (struct{}, error) { return struct{}{}, k.deleteDue(s) })
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// deleteDue destroys the versions of every key that is due, then what was said
// about it: what is cut off is gone on with.
func (k *KMS) deleteDue(s *session) error {
	ids, err := s.ids()
	if err != nil {
		return err
	}
	for _, id := range ids {
		r, objects, err := s.record(id)
		if err != nil {
			return err
		}
		if !r.due(k.now()) {
			continue
		}
		versions, err := s.versions(id)
		if err != nil {
			return err
		}
		var all []pkcs11.ObjectHandle
		for _, v := range versions {
			all = append(all, v.handle)
		}
		if err := s.destroyAll(append(all, objects...)); err != nil {
			return err
		}
	}
	return nil
}
