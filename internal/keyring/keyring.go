package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/seal"
	bolt "go.etcd.io/bbolt"
)

// Options tune a Keyring. The zero value is usable.
type Options struct {
	// KeyTTL is the hard lifetime of an unwrapped key; a key in use is
	// unwrapped again at half of it. 0: five minutes.
	KeyTTL time.Duration
	// OutageGrace is how long past its lifetime a key stays usable when its
	// KMS does not answer. A KMS that refuses ends a key at once. 0: not at all.
	OutageGrace time.Duration
	// KMSTimeout bounds one call of a KMS. 0: ten seconds.
	KMSTimeout time.Duration
	// Recovery is the private half of a recovery recipient: keys that were
	// sealed to it are not asked of their KMS. For recovery without one.
	Recovery seal.Identity
	Logger   *slog.Logger     // nil: none
	Clock    func() time.Time // nil: time.Now
}

const (
	defaultTTL     = 5 * time.Minute
	defaultTimeout = 10 * time.Second
)

// Keyring is an open keys.db. Its methods are safe for concurrent use.
type Keyring struct {
	store *store
	kms   map[string]efs.KMS
	life  lifetimes
	log   *slog.Logger

	loading sync.Mutex // one file system's keys are made or loaded at a time
	mu      sync.Mutex
	open    map[efs.ID]*Keys

	recovery  seal.Identity
	recovered sync.Map // with it: efs.ID → *secret.Key

	stop    context.CancelFunc
	stopped context.Context
	work    sync.WaitGroup
}

// Open opens or creates the store at path, whose directory exists. kms are the
// providers that policies may name. efs.ErrUnavailable if another process has
// it open, efs.ErrDamaged.
func Open(path string, kms map[string]efs.KMS, opts Options) (*Keyring, error) {
	s, err := openStore(path)
	if err != nil {
		return nil, fmt.Errorf("opening the key store: %w", err)
	}
	return newKeyring(s, kms, opts), nil
}

func newKeyring(s *store, kms map[string]efs.KMS, opts Options) *Keyring {
	r := &Keyring{store: s, kms: maps.Clone(kms), log: opts.Logger, open: map[efs.ID]*Keys{},
		recovery: opts.Recovery}
	r.life = lifetimes{ttl: opts.KeyTTL, grace: opts.OutageGrace, timeout: opts.KMSTimeout, now: opts.Clock, counts: new(counts)}
	if r.life.ttl <= 0 {
		r.life.ttl = defaultTTL
	}
	if r.life.timeout <= 0 {
		r.life.timeout = defaultTimeout
	}
	if r.life.now == nil {
		r.life.now = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.stopped, r.stop = context.WithCancel(context.Background())
	r.work.Go(r.sweeper)
	return r
}

// Keys returns the keys of a file system, after unwrapping its root secrets
// and newest epoch and checking its manifest. Nobody is asked again while they
// live. efs.ErrNotFound, efs.ErrWrongKey (records of another root or file
// system), efs.ErrDamaged, efs.ErrRefused, efs.ErrUnavailable.
func (r *Keyring) Keys(ctx context.Context, fs efs.ID) (*Keys, error) {
	if k := r.cached(fs); k != nil {
		return k, nil
	}
	r.loading.Lock()
	defer r.loading.Unlock()
	if k := r.cached(fs); k != nil {
		return k, nil
	}
	k, err := r.load(fs)
	if err == nil {
		err = k.set().verify(ctx)
	}
	if err != nil {
		if k != nil {
			k.destroy(err)
		}
		return nil, fmt.Errorf("keys of file system %s: %w", fs, err)
	}
	return k, r.keep(k)
}

func (r *Keyring) cached(fs efs.ID) *Keys {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[fs]
}

// keep takes k into the care of the sweeper.
func (r *Keyring) keep(k *Keys) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		k.destroy(errClosed)
		return errClosed
	}
	r.open[k.FS()] = k
	return nil
}

// load reads the records of a file system, unproven.
func (r *Keyring) load(fs efs.ID) (*Keys, error) {
	var stored []byte
	records := map[efs.ID]keyRecord{}
	err := r.store.view(func(tx *bolt.Tx) error {
		stored = bytes.Clone(tx.Bucket(bucketFS).Get(fs[:]))
		c := tx.Bucket(bucketKeys).Cursor()
		for k, v := c.Seek(fs[:]); bytes.HasPrefix(k, fs[:]); k, v = c.Next() {
			var rec keyRecord
			if err := decode(v, &rec); err != nil {
				return err
			}
			records[rec.ID] = rec
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, fmt.Errorf("%w: %s holds no keys of it: put back the keys.db that belongs to this root, or take them from a copy: efsctl restore-keys FILE",
			efs.ErrNotFound, r.store.path)
	}
	if err := r.recoverStored(fs); err != nil {
		return nil, err
	}
	return r.assemble(fs, stored, records)
}

// unwrap asks the KMS of a record.
func (r *Keyring) unwrap(ctx context.Context, rec *keyRecord) ([]byte, error) {
	if key, ok := r.recoveredKey(rec.ID); ok {
		return key, nil
	}
	kms, err := r.provider(rec.Provider)
	if err != nil {
		return nil, err
	}
	return kms.Unwrap(ctx, rec.Master, rec.Wrapped, rec.binding())
}

func (r *Keyring) provider(name string) (efs.KMS, error) {
	kms, ok := r.kms[name]
	if !ok {
		return nil, fmt.Errorf("%w: no KMS is called %q in this server's configuration", efs.ErrNotFound, name)
	}
	return kms, nil
}

// Drop destroys all keys of a file system, durably: nothing that they sealed
// opens again, and the store keeps no byte of them. Dropping what is not there
// is no error. Copies of the store are not reached.
func (r *Keyring) Drop(_ context.Context, fs efs.ID) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	r.mu.Lock()
	if k := r.open[fs]; k != nil {
		k.destroy(fmt.Errorf("%w: the keys of file system %s were destroyed", efs.ErrNotFound, fs))
		delete(r.open, fs)
	}
	r.mu.Unlock()
	err := r.store.update(func(tx *bolt.Tx) error { return dropRecords(tx, fs) })
	if errors.Is(err, errNothing) {
		return nil
	}
	if err == nil {
		err = r.store.scrub()
	}
	if err != nil {
		return fmt.Errorf("destroying the keys of file system %s: %w", fs, err)
	}
	return nil
}

// errNothing ends a transaction that turns out to change nothing.
var errNothing = errors.New("nothing to change")

func dropRecords(tx *bolt.Tx, fs efs.ID) error {
	if tx.Bucket(bucketFS).Get(fs[:]) == nil {
		return errNothing
	}
	return dropAll(tx, fs)
}

// dropAll removes every record of a file system.
func dropAll(tx *bolt.Tx, fs efs.ID) error {
	for _, b := range [][]byte{bucketFS, bucketAnchors} {
		if err := tx.Bucket(b).Delete(fs[:]); err != nil {
			return err
		}
	}
	if err := tx.Bucket(bucketAnchors).Delete(accessPlace(fs)); err != nil {
		return err
	}
	for _, name := range [][]byte{bucketKeys, bucketUnits, bucketRecovery} {
		b := tx.Bucket(name)
		if b == nil {
			continue
		}
		var doomed [][]byte
		c := b.Cursor()
		for k, _ := c.Seek(fs[:]); bytes.HasPrefix(k, fs[:]); k, _ = c.Next() {
			doomed = append(doomed, bytes.Clone(k))
		}
		for _, k := range doomed {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
	}
	return tx.Bucket(bucketMeta).Put(metaScrub, []byte{1})
}

// Close wipes all unwrapped keys and closes the store.
func (r *Keyring) Close() error {
	r.stop()
	r.work.Wait()
	r.mu.Lock()
	for _, k := range r.open {
		k.destroy(errClosed)
	}
	r.open = nil
	r.mu.Unlock()
	r.recovered.Range(func(_, key any) bool { key.(*secret.Key).Destroy(); return true })
	return r.store.close()
}

// sweeper looks after the lifetimes of all keys.
func (r *Keyring) sweeper() {
	tick := time.NewTicker(min(max(r.life.ttl/10, 10*time.Millisecond), time.Second))
	defer tick.Stop()
	for {
		select {
		case <-r.stopped.Done():
			return
		case <-tick.C:
			r.sweep()
		}
	}
}

// sweep wipes what has lived its life and begins to renew what is in use.
func (r *Keyring) sweep() {
	r.mu.Lock()
	var all []*liveKey
	for _, k := range r.open {
		all = append(all, k.all()...)
	}
	r.mu.Unlock()
	for _, l := range all {
		if !l.sweep() {
			continue
		}
		r.work.Go(func() {
			if err := l.renew(r.stopped); err != nil && r.stopped.Err() == nil {
				r.log.Warn("a key could not be renewed", "key", efs.ID(l.ID()), "provider", l.record().Provider, "error", err)
			}
		})
	}
}
