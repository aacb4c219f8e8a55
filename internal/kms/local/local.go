// Package local is the KMS that every server has: versioned master keys kept
// in the Box, sealed under the starter key. Unwrapped, they stay in locked
// memory while the server runs.
package local

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/masterkey"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
)

// Name is the provider's name in policies.
const Name = "local"

// label begins what a wrap of the local KMS is bound to.
const label = masterkey.Label("efs kms-local wrap\x00")

// KMS is an efs.KMS whose master keys lie in a Box.
type KMS struct {
	box *starter.Box
	log *slog.Logger
	now func() time.Time

	mu      sync.RWMutex
	keys    map[string]*master
	deleted map[string]time.Time // when; ids are not used again

	stop context.CancelFunc
	work sync.WaitGroup
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

// Options tune a KMS. The zero value is usable.
type Options struct {
	Logger *slog.Logger     // nil: none
	Clock  func() time.Time // nil: time.Now
}

// Open is OpenWith without options.
func Open(b *starter.Box) (*KMS, error) { return OpenWith(b, Options{}) }

// OpenWith reads the master keys of b; there may be none yet. Keys whose time
// of deletion has come, also while nothing ran, are destroyed. efs.ErrDamaged.
func OpenWith(b *starter.Box, o Options) (*KMS, error) { return open(b, o, sweepEvery) }

func open(b *starter.Box, o Options, every time.Duration) (*KMS, error) {
	k := &KMS{box: b, log: o.Logger, now: o.Clock}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.now == nil {
		k.now = time.Now
	}
	var err error
	if k.keys, k.deleted, err = load(b); err != nil {
		return nil, fmt.Errorf("opening the local KMS: %w", err)
	}
	k.deleteDue()
	var ctx context.Context
	ctx, k.stop = context.WithCancel(context.Background())
	k.work.Go(func() { k.sweeper(ctx, every) })
	return k, nil
}

// Close wipes the master keys. The KMS knows none after.
func (k *KMS) Close() {
	k.stop()
	k.work.Wait()
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
	if err := masterkey.CheckKey(key); err != nil {
		return nil, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	m, err := k.usable(id)
	if err != nil {
		return nil, err
	}
	number := len(m.versions)
	wrapped, err := label.Wrap(m.versions[number-1].key, id, number, key, b)
	if err != nil {
		return nil, fmt.Errorf("wrapping under local master key %s: %w", id, err)
	}
	return wrapped, nil
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
	number := masterkey.Version(wrapped)
	if number < 1 || number > len(m.versions) {
		return nil, masterkey.NotOf(id)
	}
	return label.Unwrap(m.versions[number-1].key, id, wrapped, b)
}

// find returns a master key in whatever state it is. Called with mu held.
func (k *KMS) find(id string) (*master, error) {
	if at, ok := k.deleted[id]; ok {
		return nil, wasDeleted(id, at)
	}
	m, ok := k.keys[id]
	if !ok {
		return nil, fmt.Errorf("%w: the local KMS has no master key %s", efs.ErrNotFound, id)
	}
	if m.due(k.now()) {
		return nil, wasDeleted(id, m.deleteAt)
	}
	return m, nil
}

func wasDeleted(id string, at time.Time) error {
	return fmt.Errorf("%w: local master key %s was deleted at %s, with all that it wrapped", efs.ErrNotFound, id, at.Format(time.RFC3339))
}

// usable returns an enabled master key. Called with mu held.
func (k *KMS) usable(id string) (*master, error) {
	m, err := k.find(id)
	if err != nil {
		return nil, err
	}
	if m.state != efs.KeyEnabled {
		return nil, fmt.Errorf("%w: local master key %s is %s", efs.ErrRefused, id, m.state)
	}
	return m, nil
}
