// Package local is the KMS that every server has: versioned master keys kept
// in the Box, sealed under the starter key. Unwrapped, they stay in locked
// memory while the server runs.
package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
)

// Name is the provider's name in policies.
const Name = "local"

// The wrapped form: format (1 byte), version of the master key (uint32, big
// endian), then what secret.Key.Seal gives.
const (
	wrapFormat = 1
	wrapHeader = 1 + 4
	wrapLabel  = "efs kms-local wrap\x00"
)

var keyID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// KMS is an efs.KMS whose master keys lie in a Box.
type KMS struct {
	box  *starter.Box
	mu   sync.RWMutex
	keys map[string]*master
}

var _ efs.KMS = (*KMS)(nil)

// master is a master key with all its versions.
type master struct {
	state    efs.KeyState
	created  time.Time
	deleteAt time.Time
	options  efs.KeyOptions
	versions []version // by number, without gaps, from 1
}

type version struct {
	created time.Time
	key     *secret.Key
}

// Open reads the master keys of b; there may be none yet. efs.ErrDamaged.
func Open(b *starter.Box) (*KMS, error) {
	keys, err := load(b)
	if err != nil {
		return nil, fmt.Errorf("opening the local KMS: %w", err)
	}
	return &KMS{box: b, keys: keys}, nil
}

// Close wipes the master keys. The KMS knows none after.
func (k *KMS) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	wipe(k.keys)
	k.keys = map[string]*master{}
}

// Name returns "local".
func (k *KMS) Name() string { return Name }

// Ready is nil: the local KMS answers while it is open.
func (k *KMS) Ready(context.Context) error { return nil }

// Wrap seals a key of 32 bytes under the newest version of a master key.
func (k *KMS) Wrap(_ context.Context, id string, key []byte, b efs.Binding) ([]byte, error) {
	if len(key) != secret.Size {
		return nil, fmt.Errorf("%w: a key to wrap has %d bytes, not %d", efs.ErrBadInput, secret.Size, len(key))
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	m, err := k.usable(id)
	if err != nil {
		return nil, err
	}
	number := len(m.versions)
	info, err := bindingInfo(id, number, b)
	if err != nil {
		return nil, err
	}
	sealed, err := m.versions[number-1].key.Seal(key, info)
	if err != nil {
		return nil, fmt.Errorf("wrapping under local master key %s: %w", id, err)
	}
	out := binary.BigEndian.AppendUint32([]byte{wrapFormat}, uint32(number))
	return append(out, sealed...), nil
}

// Unwrap opens what Wrap made with the same id and binding, under whichever
// version.
func (k *KMS) Unwrap(_ context.Context, id string, wrapped []byte, b efs.Binding) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	m, err := k.usable(id)
	if err != nil {
		return nil, err
	}
	if len(wrapped) != wrapHeader+secret.Size+secret.Overhead || wrapped[0] != wrapFormat {
		return nil, notOfThis(id)
	}
	number := binary.BigEndian.Uint32(wrapped[1:wrapHeader])
	if number < 1 || uint64(number) > uint64(len(m.versions)) {
		return nil, notOfThis(id)
	}
	info, err := bindingInfo(id, int(number), b)
	if err != nil {
		return nil, err
	}
	key, err := m.versions[number-1].key.Open(wrapped[wrapHeader:], info)
	if errors.Is(err, secret.ErrOpen) {
		return nil, notOfThis(id)
	}
	return key, err
}

// CreateKey makes a master key. Ids match [A-Za-z0-9][A-Za-z0-9._-]{0,127}.
func (k *KMS) CreateKey(_ context.Context, id string, o efs.KeyOptions) (efs.KeyInfo, error) {
	if !keyID.MatchString(id) {
		return efs.KeyInfo{}, fmt.Errorf("%w: %q cannot be the id of a master key: "+
			"letters, digits, dots, dashes and underscores, at most 128", efs.ErrBadInput, id)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.keys[id]; ok {
		return efs.KeyInfo{}, fmt.Errorf("%w: local master key %s", efs.ErrExists, id)
	}
	v, err := newVersion()
	if err != nil {
		return efs.KeyInfo{}, err
	}
	m := &master{state: efs.KeyEnabled, created: v.created, options: o, versions: []version{v}}
	k.keys[id] = m
	if err := store(k.box, k.keys); err != nil {
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
	v, err := newVersion()
	if err != nil {
		return efs.KeyInfo{}, err
	}
	m.versions = append(m.versions, v)
	if err := store(k.box, k.keys); err != nil {
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
	m, ok := k.keys[id]
	if !ok {
		return efs.KeyInfo{}, noSuchKey(id)
	}
	return m.info(id), nil
}

// ListKeys tells about all master keys, by id.
func (k *KMS) ListKeys(context.Context) ([]efs.KeyInfo, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	infos := make([]efs.KeyInfo, 0, len(k.keys))
	for id, m := range k.keys {
		infos = append(infos, m.info(id))
	}
	slices.SortFunc(infos, func(a, b efs.KeyInfo) int { return strings.Compare(a.ID, b.ID) })
	return infos, nil
}

// usable returns an enabled master key. Called with mu held.
func (k *KMS) usable(id string) (*master, error) {
	m, ok := k.keys[id]
	if !ok {
		return nil, noSuchKey(id)
	}
	if m.state != efs.KeyEnabled {
		return nil, fmt.Errorf("%w: local master key %s is %s", efs.ErrRefused, id, m.state)
	}
	return m, nil
}

func (m *master) info(id string) efs.KeyInfo {
	return efs.KeyInfo{ID: id, Provider: Name, State: m.state, Version: len(m.versions), Created: m.created, DeleteAt: m.deleteAt, KeyOptions: m.options}
}

func newVersion() (version, error) {
	key, err := secret.RandomKey()
	return version{created: time.Now().UTC().Truncate(time.Microsecond), key: key}, err
}

func noSuchKey(id string) error {
	return fmt.Errorf("%w: the local KMS has no master key %s", efs.ErrNotFound, id)
}

func notOfThis(id string) error {
	return fmt.Errorf("%w: not wrapped by local master key %s for this purpose", efs.ErrWrongKey, id)
}

// bindingInfo is what a wrap is bound to.
func bindingInfo(id string, number int, b efs.Binding) ([]byte, error) {
	body, err := detcbor.Marshal([]any{id, number, b})
	return append([]byte(wrapLabel), body...), err
}
