package vaultkv

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// master is a master key with all its versions, as Vault had it.
type master struct {
	state    efs.KeyState
	created  time.Time
	deleteAt time.Time
	options  efs.KeyOptions
	versions []version // by number, without gaps, from 1

	revision int       // of the secret in KV, from 1; 0: not stored yet
	fetched  time.Time // when Vault was asked
}

type version struct {
	created time.Time
	key     *secret.Key
}

const storeFormat = 1

// stored is a master key in KV: the secret's data. Times are in RFC 3339.
type stored struct {
	Format      int               `json:"efs_format"`
	State       efs.KeyState      `json:"state"`
	Created     time.Time         `json:"created"`
	DeleteAt    time.Time         `json:"delete_at,omitzero"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Versions    []storedVersion   `json:"versions"`
}

type storedVersion struct {
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"` // 32 bytes, in base64
}

func newVersion(now time.Time) (version, error) {
	key, err := secret.RandomKey()
	return version{now.UTC().Truncate(time.Microsecond), key}, err
}

func newMaster(now time.Time, o efs.KeyOptions) (*master, error) {
	v, err := newVersion(now)
	if err != nil {
		return nil, err
	}
	return &master{state: efs.KeyEnabled, created: v.created, options: o, versions: []version{v}}, nil
}

// load moves what was stored into locked memory and wipes it.
func (s *stored) load(id string) (*master, error) {
	defer s.wipe()
	switch {
	case s.Format > storeFormat:
		return nil, fmt.Errorf("master key %s has format %d, this program knows %d: a newer EFS wrote it, start that one", id, s.Format, storeFormat)
	case s.Format < 1, len(s.Versions) == 0, !slices.Contains([]efs.KeyState{efs.KeyEnabled, efs.KeyDisabled, efs.KeyPendingDeletion}, s.State):
		return nil, fmt.Errorf("%w: what Vault keeps as master key %s is none: look at it with `vault kv get`", efs.ErrDamaged, id)
	}
	m := &master{state: s.State, created: s.Created.UTC(), deleteAt: s.DeleteAt.UTC(), options: efs.KeyOptions{Description: s.Description, Tags: s.Tags}}
	for i, v := range s.Versions {
		key, err := secret.NewKey(v.Key)
		if err != nil {
			m.wipe()
			return nil, fmt.Errorf("%w: version %d of master key %s: %w", efs.ErrDamaged, i+1, id, err)
		}
		m.versions = append(m.versions, version{v.Created.UTC(), key})
	}
	return m, nil
}

// store returns the form for Vault; the caller wipes it.
func (m *master) store() (*stored, error) {
	s := &stored{Format: storeFormat, State: m.state, Created: m.created, DeleteAt: m.deleteAt, Description: m.options.Description, Tags: m.options.Tags}
	for _, v := range m.versions {
		var key []byte
		if err := v.key.With(func(b []byte) { key = slices.Clone(b) }); err != nil {
			s.wipe()
			return nil, err
		}
		s.Versions = append(s.Versions, storedVersion{v.created, key})
	}
	return s, nil
}

func (s *stored) wipe() {
	for _, v := range s.Versions {
		secret.Wipe(v.Key)
	}
}

func (m *master) wipe() {
	for _, v := range m.versions {
		v.key.Destroy()
	}
}

// usable is nil for an enabled key. efs.ErrRefused.
func (m *master) usable(id string) error {
	if m.state == efs.KeyEnabled {
		return nil
	}
	return fmt.Errorf("%w: master key %s is %s", efs.ErrRefused, id, m.state)
}

// due reports whether the key is to be gone by now.
func (m *master) due(now time.Time) bool {
	return m.state == efs.KeyPendingDeletion && !now.Before(m.deleteAt)
}

func (m *master) info(provider, id string) efs.KeyInfo {
	return efs.KeyInfo{ID: id, Provider: provider, State: m.state, Version: len(m.versions), Created: m.created, DeleteAt: m.deleteAt,
		KeyOptions: efs.KeyOptions{Description: m.options.Description, Tags: maps.Clone(m.options.Tags)}}
}
