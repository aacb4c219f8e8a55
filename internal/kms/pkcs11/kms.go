//go:build pkcs11

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/masterkey"
	"github.com/miekg/pkcs11"
)

// KMS is an efs.KMS whose master keys lie in a token.
type KMS struct {
	name  string
	c     Config
	token *token
	now   func() time.Time

	stop context.CancelFunc
	work sync.WaitGroup
}

var _ efs.KMS = (*KMS)(nil)

// sweepEvery is how long a key may outlive its time of deletion on the token.
// For EFS it is gone from that time on.
const sweepEvery = time.Minute

// New returns the KMS on the token that c describes. It is logged in to when
// it is needed. efs.ErrBadInput.
func New(_ context.Context, name string, c Config) (*KMS, error) {
	return open(name, c, time.Now, sweepEvery)
}

func open(name string, c Config, now func() time.Time, every time.Duration) (*KMS, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	k := &KMS{name: name, c: c, token: newToken(name, c), now: now}
	var ctx context.Context
	ctx, k.stop = context.WithCancel(context.Background())
	k.work.Go(func() { k.sweeper(ctx, every) })
	return k, nil
}

// Close logs out, after the call that is under way.
func (k *KMS) Close() error {
	k.stop()
	k.work.Wait()
	k.token.close()
	return nil
}

// Name returns the provider's name in policies.
func (k *KMS) Name() string { return k.name }

// Ready is nil if the token answers and the user is logged in.
func (k *KMS) Ready(ctx context.Context) error {
	_, err := ask(ctx, k.token, nil, func(s *session) (struct{}, error) {
		_, err := s.ctx.GetSessionInfo(s.handle)
		return struct{}{}, err
	})
	return err
}

// key is a master key as it lies on the token.
type key struct {
	id       string
	record   record
	objects  []pkcs11.ObjectHandle // that hold record
	versions []version             // by number
}

// key looks a master key up. efs.ErrNotFound also for one whose time is over.
func (k *KMS) key(s *session, id string) (*key, error) {
	versions, err := s.versions(id)
	if err != nil {
		return nil, err
	}
	out := &key{id: id, versions: versions}
	if k.c.State != "none" {
		if out.record, out.objects, err = s.record(id); err != nil {
			return nil, err
		}
	} else {
		out.record.State = efs.KeyEnabled
	}
	if len(versions) == 0 || out.record.due(k.now()) {
		return nil, fmt.Errorf("%w: the token of KMS %s has no master key %s", efs.ErrNotFound, k.name, id)
	}
	return out, nil
}

// usable is key for one that is enabled.
func (k *KMS) usable(s *session, id string) (*key, error) {
	key, err := k.key(s, id)
	if err == nil && key.record.State != efs.KeyEnabled {
		return nil, fmt.Errorf("%w: master key %s of KMS %s is %s", efs.ErrRefused, id, k.name, key.record.State)
	}
	return key, err
}

func (k *KMS) info(key *key) efs.KeyInfo {
	return efs.KeyInfo{
		ID: key.id, Provider: k.name, State: key.record.State, Version: key.versions[len(key.versions)-1].number,
		Created: key.versions[0].created, DeleteAt: key.record.deleteAt(), KeyOptions: key.record.options(),
	}
}

// DescribeKey tells about one master key.
func (k *KMS) DescribeKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return k.on(ctx, func(s *session) (efs.KeyInfo, error) { return k.describe(s, id) })
}

func (k *KMS) describe(s *session, id string) (efs.KeyInfo, error) {
	key, err := k.key(s, id)
	if err != nil {
		return efs.KeyInfo{}, err
	}
	return k.info(key), nil
}

func (k *KMS) on(ctx context.Context, f func(*session) (efs.KeyInfo, error)) (efs.KeyInfo, error) {
	return ask(ctx, k.token, nil, f)
}

// ListKeys tells about all master keys, by id.
func (k *KMS) ListKeys(ctx context.Context) ([]efs.KeyInfo, error) {
	return ask(ctx, k.token, nil, func(s *session) ([]efs.KeyInfo, error) {
		ids, err := s.ids()
		if err != nil {
			return nil, err
		}
		infos := make([]efs.KeyInfo, 0, len(ids))
		for _, id := range ids {
			key, err := k.key(s, id)
			if errors.Is(err, efs.ErrNotFound) {
				continue // due for deletion
			}
			if err != nil {
				return nil, err
			}
			infos = append(infos, k.info(key))
		}
		return infos, nil
	})
}

// CreateKey makes a master key on the token. Ids match
// [A-Za-z0-9][A-Za-z0-9._-]{0,127}.
func (k *KMS) CreateKey(ctx context.Context, id string, o efs.KeyOptions) (efs.KeyInfo, error) {
	if err := masterkey.CheckID(id); err != nil {
		return efs.KeyInfo{}, err
	}
	if err := o.Check(); err != nil {
		return efs.KeyInfo{}, err
	}
	said := o.Description != "" || len(o.Tags) > 0
	if said && k.c.State == "none" {
		return efs.KeyInfo{}, k.stateless()
	}
	return k.on(ctx, func(s *session) (efs.KeyInfo, error) {
		versions, err := s.versions(id)
		if err != nil {
			return efs.KeyInfo{}, err
		}
		if len(versions) > 0 {
			return efs.KeyInfo{}, fmt.Errorf("%w: master key %s of KMS %s", efs.ErrExists, id, k.name)
		}
		// What is said comes first: without a key it says nothing of anything.
		// What a deletion that was cut off left must not hold for the new key.
		if k.c.State != "none" {
			before, objects, err := s.record(id)
			if err != nil {
				return efs.KeyInfo{}, err
			}
			r := record{Format: recordFormat, Serial: before.Serial, State: efs.KeyEnabled, Description: o.Description, Tags: o.Tags}
			if said {
				err = s.say(id, r, objects)
			} else {
				err = s.destroyAll(objects)
			}
			if err != nil {
				return efs.KeyInfo{}, err
			}
		}
		if err := s.generate(id, 1, k.moment()); err != nil {
			return efs.KeyInfo{}, err
		}
		return k.describe(s, id)
	})
}

// RotateKey makes a further version on the token; older ones still unwrap.
func (k *KMS) RotateKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	return k.on(ctx, func(s *session) (efs.KeyInfo, error) {
		key, err := k.usable(s, id)
		if err != nil {
			return efs.KeyInfo{}, err
		}
		next := key.versions[len(key.versions)-1].number + 1
		if err := s.generate(id, next, k.moment()); err != nil {
			return efs.KeyInfo{}, err
		}
		return k.describe(s, id)
	})
}

func (k *KMS) moment() time.Time { return k.now().UTC().Truncate(time.Microsecond) }

// version returns a version of a key by its number.
func (k *key) version(number int) (version, bool) {
	i := slices.IndexFunc(k.versions, func(v version) bool { return v.number == number })
	if i < 0 {
		return version{}, false
	}
	return k.versions[i], true
}
