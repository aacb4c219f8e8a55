package local

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/masterkey"
	"github.com/efs-project/efs/internal/secret"
)

// CreateKey makes a master key. Ids match [A-Za-z0-9][A-Za-z0-9._-]{0,127}.
func (k *KMS) CreateKey(_ context.Context, id string, o efs.KeyOptions) (efs.KeyInfo, error) {
	if err := masterkey.CheckID(id); err != nil {
		return efs.KeyInfo{}, err
	}
	if err := o.Check(); err != nil {
		return efs.KeyInfo{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if at, ok := k.deleted[id]; ok {
		return efs.KeyInfo{}, fmt.Errorf("%w: local master key %s did until %s, and ids are not used again: choose another",
			efs.ErrExists, id, at.Format(time.RFC3339))
	}
	if _, ok := k.keys[id]; ok {
		return efs.KeyInfo{}, fmt.Errorf("%w: local master key %s", efs.ErrExists, id)
	}
	v, err := k.newVersion()
	if err != nil {
		return efs.KeyInfo{}, err
	}
	m := &master{state: efs.KeyEnabled, created: v.created, options: cloneOptions(o), versions: []version{v}}
	k.keys[id] = m
	if err := k.store(k.keys, k.deleted); err != nil {
		delete(k.keys, id)
		v.key.Destroy()
		return efs.KeyInfo{}, fmt.Errorf("creating local master key %s: %w", id, err)
	}
	return m.info(id), nil
}

// RotateKey adds a version; what older versions wrapped still unwraps.
func (k *KMS) RotateKey(_ context.Context, id string) (efs.KeyInfo, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m, err := k.usable(id)
	if err != nil {
		return efs.KeyInfo{}, err
	}
	v, err := k.newVersion()
	if err != nil {
		return efs.KeyInfo{}, err
	}
	m.versions = append(m.versions, v)
	if err := k.store(k.keys, k.deleted); err != nil {
		m.versions = m.versions[:len(m.versions)-1]
		v.key.Destroy()
		return efs.KeyInfo{}, fmt.Errorf("rotating local master key %s: %w", id, err)
	}
	return m.info(id), nil
}

// DescribeKey tells about one master key, in whatever state it is.
func (k *KMS) DescribeKey(_ context.Context, id string) (efs.KeyInfo, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	m, err := k.find(id)
	if err != nil {
		return efs.KeyInfo{}, err
	}
	return m.info(id), nil
}

// ListKeys tells about all master keys, by id.
func (k *KMS) ListKeys(context.Context) ([]efs.KeyInfo, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	infos := make([]efs.KeyInfo, 0, len(k.keys))
	for id, m := range k.keys {
		if !m.due(k.now()) {
			infos = append(infos, m.info(id))
		}
	}
	slices.SortFunc(infos, func(a, b efs.KeyInfo) int { return strings.Compare(a.ID, b.ID) })
	return infos, nil
}

func (m *master) info(id string) efs.KeyInfo {
	return efs.KeyInfo{ID: id, Provider: Name, State: m.state, Version: len(m.versions), Created: m.created, DeleteAt: m.deleteAt,
		KeyOptions: cloneOptions(m.options)}
}

// cloneOptions keeps a caller's map and the KMS's apart.
func cloneOptions(o efs.KeyOptions) efs.KeyOptions {
	return efs.KeyOptions{Description: o.Description, Tags: maps.Clone(o.Tags)}
}

func (k *KMS) newVersion() (version, error) {
	key, err := secret.RandomKey()
	return version{created: k.moment(), key: key}, err
}

// moment is now as it is stored.
func (k *KMS) moment() time.Time { return k.now().UTC().Truncate(time.Microsecond) }
