// Package vaultkv is the KMS whose master keys lie as secrets in a HashiCorp
// Vault's KV engine, version 2 (or OpenBao's). Vault keeps and guards the
// material; EFS wraps with it, in locked memory, for a minute at a time. So it
// has the whole life of a key, and Vault is asked once a minute and not once a
// wrap; but EFS holds the master key while it is used, which it never does
// with Transit.
package vaultkv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/masterkey"
	"github.com/efs-project/efs/internal/kms/vaultconn"
)

const label masterkey.Label = "efs kms-vault-kv wrap\x00"

// DefaultCacheTTL is how long material is used without asking Vault.
const DefaultCacheTTL = time.Minute

// Config is a provider's settings.
type Config struct {
	vaultconn.Config `koanf:",squash"`
	Mount            string        `koanf:"mount"`     // where KV v2 is mounted; "secret" if empty
	Path             string        `koanf:"path"`      // below the mount, for EFS alone; "efs" if empty
	CacheTTL         time.Duration `koanf:"cache_ttl"` // how long material is used without asking Vault; a minute if 0, at most an hour

	Logger *slog.Logger     `koanf:"-"` // nil: the default one
	Clock  func() time.Time `koanf:"-"` // nil: time.Now
}

// Validate reports everything in c that cannot hold.
func (c Config) Validate() error {
	if err := c.Config.Validate(); err != nil {
		return err
	}
	if c.CacheTTL < 0 || c.CacheTTL > time.Hour {
		return fmt.Errorf("cache_ttl = %q: it is between 0 and an hour", c.CacheTTL)
	}
	return nil
}

// KMS is an efs.KMS over KV v2.
type KMS struct {
	name string
	vault
	ttl  time.Duration
	now  func() time.Time
	log  *slog.Logger
	stop context.CancelFunc
	work sync.WaitGroup

	mu     sync.RWMutex // held for reading while material is used
	cached map[string]*master
}

var _ efs.KMS = (*KMS)(nil)

// New opens a provider. Nothing is sent to Vault before it is needed, but for
// deletions that are due. Close it.
func New(_ context.Context, name string, c Config) (*KMS, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	conn, err := vaultconn.New(c.Config)
	if err != nil {
		return nil, err
	}
	k := &KMS{
		name:   name,
		vault:  vault{conn, strings.Trim(cmp.Or(c.Mount, "secret"), "/"), strings.Trim(cmp.Or(c.Path, "efs"), "/")},
		ttl:    cmp.Or(c.CacheTTL, DefaultCacheTTL),
		now:    c.Clock,
		log:    c.Logger,
		cached: map[string]*master{},
	}
	if k.now == nil {
		k.now = time.Now
	}
	if k.log == nil {
		k.log = slog.Default()
	}
	var ctx context.Context
	ctx, k.stop = context.WithCancel(context.Background())
	k.work.Go(func() { k.keepHouse(ctx) })
	return k, nil
}

// Close wipes the material and ends what is under way.
func (k *KMS) Close() error {
	k.stop()
	err := k.conn.Close()
	k.work.Wait()
	k.forgetIf(func(*master) bool { return true })
	return err
}

// Name is the name in the configuration.
func (k *KMS) Name() string { return k.name }

// Ready is nil if Vault is unsealed and knows us.
func (k *KMS) Ready(ctx context.Context) error { return k.conn.Ready(ctx) }

// Wrap seals a key of 32 bytes under the newest version of a master key. Vault
// is always asked for it: nothing must be wrapped under material that was
// deleted a moment ago.
func (k *KMS) Wrap(ctx context.Context, id string, key []byte, b efs.Binding) ([]byte, error) {
	if err := masterkey.CheckKey(key); err != nil {
		return nil, err
	}
	var wrapped []byte
	err := k.useFresh(ctx, id, func(m *master) (err error) {
		n := len(m.versions)
		wrapped, err = label.Wrap(m.versions[n-1].key, id, n, key, b)
		return err
	})
	return wrapped, err
}

// Unwrap opens what Wrap made with the same id and binding, under whichever
// version. The caller wipes the result.
func (k *KMS) Unwrap(ctx context.Context, id string, wrapped []byte, b efs.Binding) ([]byte, error) {
	n := masterkey.Version(wrapped)
	var key []byte
	open := func(m *master) (err error) {
		if n < 1 || n > len(m.versions) {
			return masterkey.NotOf(id)
		}
		key, err = label.Unwrap(m.versions[n-1].key, id, wrapped, b)
		return err
	}
	found, err := k.useCached(id, open)
	if !found || errors.Is(err, efs.ErrWrongKey) { // of another server's version, it may be
		err = k.useFresh(ctx, id, open)
	}
	return key, err
}

// useFresh calls fn with an enabled master key as Vault has it now, and keeps
// it for useCached.
func (k *KMS) useFresh(ctx context.Context, id string, fn func(*master) error) error {
	m, err := k.fetch(ctx, id)
	if err != nil {
		k.forget(id)
		return err
	}
	defer k.keep(id, m)
	if err := m.usable(id); err != nil {
		return err
	}
	return fn(m)
}

// useCached calls fn with an enabled master key as Vault had it no longer than
// the time to live ago.
func (k *KMS) useCached(id string, fn func(*master) error) (found bool, err error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	m, ok := k.cached[id]
	if !ok || k.old(m) || m.due(k.now()) {
		return false, nil
	}
	if err := m.usable(id); err != nil {
		return true, err
	}
	return true, fn(m)
}

func (k *KMS) old(m *master) bool { return k.now().Sub(m.fetched) >= k.ttl }

// keep caches a master key, or wipes it if what is cached is newer.
func (k *KMS) keep(id string, m *master) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if was, ok := k.cached[id]; ok {
		if was.revision > m.revision && !k.old(was) {
			m.wipe()
			return
		}
		was.wipe()
	}
	k.cached[id] = m
}

// forget wipes what is cached of a master key.
func (k *KMS) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if m, ok := k.cached[id]; ok {
		m.wipe()
		delete(k.cached, id)
	}
}

// forgetIf wipes those of the cached master keys.
func (k *KMS) forgetIf(these func(*master) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, m := range k.cached {
		if these(m) {
			m.wipe()
			delete(k.cached, id)
		}
	}
}
