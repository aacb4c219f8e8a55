package local

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
)

// boxName is the server secret that holds all master keys: they are few, and
// one file is replaced at once.
const boxName = "kms-local"

const storeFormat = 1

// The stored form, deterministic CBOR. The Box seals it.
type storedKeys struct {
	Format int                     `cbor:"1,keyasint"`
	Keys   map[string]storedMaster `cbor:"2,keyasint"`
}

type storedMaster struct {
	State    efs.KeyState    `cbor:"1,keyasint"`
	Created  int64           `cbor:"2,keyasint"`           // Unix time, microseconds
	DeleteAt int64           `cbor:"3,keyasint,omitempty"` // Unix time, microseconds; 0: never
	Versions []storedVersion `cbor:"4,keyasint"`

	Description string            `cbor:"5,keyasint,omitempty"`
	Tags        map[string]string `cbor:"6,keyasint,omitempty"`
}

type storedVersion struct {
	Number  int    `cbor:"1,keyasint"`
	Created int64  `cbor:"2,keyasint"` // Unix time, microseconds
	Key     []byte `cbor:"3,keyasint"`
}

func load(b *starter.Box) (map[string]*master, error) {
	plain, err := b.Get(boxName)
	if errors.Is(err, efs.ErrNotFound) {
		return map[string]*master{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plain)
	var version struct {
		Format int `cbor:"1,keyasint"`
	}
	if err := detcbor.UnmarshalKnown(plain, &version); err != nil {
		return nil, fmt.Errorf("%w: master keys are unreadable", efs.ErrDamaged)
	}
	if version.Format > storeFormat {
		return nil, fmt.Errorf("master keys have format %d, this program knows %d: they were written by a newer EFS, start that one",
			version.Format, storeFormat)
	}
	var stored storedKeys
	if err := detcbor.Unmarshal(plain, &stored); err != nil {
		return nil, fmt.Errorf("%w: master keys are unreadable", efs.ErrDamaged)
	}
	defer stored.wipe()
	keys := map[string]*master{}
	for id, s := range stored.Keys {
		m, err := s.master(id)
		if err != nil {
			wipe(keys)
			return nil, err
		}
		keys[id] = m
	}
	return keys, nil
}

func (s storedMaster) master(id string) (*master, error) {
	m := &master{state: s.State, created: fromMicro(s.Created), deleteAt: fromMicro(s.DeleteAt),
		options: efs.KeyOptions{Description: s.Description, Tags: s.Tags}}
	for i, v := range s.Versions {
		key, err := secret.NewKey(v.Key)
		if err == nil && v.Number != i+1 {
			key.Destroy()
			err = fmt.Errorf("%w: version %d stands where version %d belongs", efs.ErrDamaged, v.Number, i+1)
		}
		if err != nil {
			m.wipe()
			return nil, fmt.Errorf("master key %s: %w", id, err)
		}
		m.versions = append(m.versions, version{fromMicro(v.Created), key})
	}
	if len(m.versions) == 0 {
		return nil, fmt.Errorf("%w: master key %s has no version", efs.ErrDamaged, id)
	}
	return m, nil
}

// store replaces what the Box holds by keys; durable on return.
func store(b *starter.Box, keys map[string]*master) error {
	stored := storedKeys{Format: storeFormat, Keys: map[string]storedMaster{}}
	defer stored.wipe()
	for id, m := range keys {
		s := storedMaster{State: m.state, Created: m.created.UnixMicro(), DeleteAt: toMicro(m.deleteAt),
			Description: m.options.Description, Tags: m.options.Tags}
		for i, v := range m.versions {
			var key []byte
			if err := v.key.With(func(b []byte) { key = slices.Clone(b) }); err != nil {
				return err
			}
			s.Versions = append(s.Versions, storedVersion{i + 1, v.created.UnixMicro(), key})
		}
		stored.Keys[id] = s
	}
	plain, err := detcbor.Marshal(stored)
	if err != nil {
		return err
	}
	defer secret.Wipe(plain)
	return b.Put(boxName, plain)
}

func (s storedKeys) wipe() {
	for _, m := range s.Keys {
		for _, v := range m.Versions {
			secret.Wipe(v.Key)
		}
	}
}

func wipe(keys map[string]*master) {
	for _, m := range keys {
		m.wipe()
	}
}

func (m *master) wipe() {
	for _, v := range m.versions {
		v.key.Destroy()
	}
}

func fromMicro(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMicro(t).UTC()
}

func toMicro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
