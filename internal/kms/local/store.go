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

// storeFormat is what is written. Format 1 had neither descriptions, nor tags,
// nor deleted keys; it is read as it is, and becomes format 2 when something
// changes.
const storeFormat = 2

// The stored form, deterministic CBOR. The Box seals it.
type storedKeys struct {
	Format  int                     `cbor:"1,keyasint"`
	Keys    map[string]storedMaster `cbor:"2,keyasint"`
	Deleted map[string]int64        `cbor:"3,keyasint,omitempty"` // id → Unix time, microseconds
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

func load(b *starter.Box) (keys map[string]*master, deleted map[string]time.Time, err error) {
	keys, deleted = map[string]*master{}, map[string]time.Time{}
	plain, err := b.Get(boxName)
	if errors.Is(err, efs.ErrNotFound) {
		return keys, deleted, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer secret.Wipe(plain)
	var version struct {
		Format int `cbor:"1,keyasint"`
	}
	if err := detcbor.UnmarshalKnown(plain, &version); err != nil {
		return nil, nil, fmt.Errorf("%w: master keys are unreadable", efs.ErrDamaged)
	}
	if version.Format > storeFormat {
		return nil, nil, fmt.Errorf("master keys have format %d, this program knows %d: they were written by a newer EFS, start that one",
			version.Format, storeFormat)
	}
	var stored storedKeys
	if err := detcbor.Unmarshal(plain, &stored); err != nil {
		return nil, nil, fmt.Errorf("%w: master keys are unreadable", efs.ErrDamaged)
	}
	defer stored.wipe()
	for id, s := range stored.Keys {
		m, err := s.master(id)
		if err != nil {
			wipe(keys)
			return nil, nil, err
		}
		keys[id] = m
	}
	for id, at := range stored.Deleted {
		deleted[id] = fromMicro(at)
	}
	return keys, deleted, nil
}

func (s storedMaster) master(id string) (*master, error) {
	if s.State != efs.KeyEnabled && s.State != efs.KeyDisabled && s.State != efs.KeyPendingDeletion {
		return nil, fmt.Errorf("%w: master key %s is in no known state", efs.ErrDamaged, id)
	}
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

// store replaces what the Box holds; durable on return, and the bytes that
// held it before are overwritten.
func (k *KMS) store(keys map[string]*master, deleted map[string]time.Time) error {
	stored := storedKeys{Format: storeFormat, Keys: map[string]storedMaster{}, Deleted: map[string]int64{}}
	defer stored.wipe()
	for id, at := range deleted {
		stored.Deleted[id] = at.UnixMicro()
	}
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
	plain, err := detcbor.MarshalSecret(stored)
	if err != nil {
		return err
	}
	defer secret.Wipe(plain)
	err = k.box.Replace(boxName, plain)
	if errors.Is(err, starter.ErrNotErased) {
		k.log.Warn("the old bytes of the local master keys will be overwritten at the next change or start", "err", err)
		return nil
	}
	return err
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
