package keyring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/seal"
)

// retryAfter is how long an answer of a KMS that gave no key stands before it
// is asked again.
const retryAfter = time.Second

// lifetimes say how long an unwrapped key lives.
type lifetimes struct {
	ttl     time.Duration // hard
	grace   time.Duration // beyond ttl, while the KMS does not answer
	timeout time.Duration // of one call
	now     func() time.Time
	*counts
}

// liveKey is a key record and, while it is alive, its unwrapped key.
type liveKey struct {
	rec    atomic.Pointer[keyRecord] // exchanged when the same key is wrapped anew
	unwrap func(context.Context, *keyRecord) ([]byte, error)
	life   *lifetimes

	asking sync.Mutex  // held while the KMS is asked, so that it is asked once
	used   atomic.Bool // since it was last unwrapped

	mu     sync.RWMutex
	key    *secret.Key // nil: not unwrapped
	since  time.Time   // when the KMS was asked for key
	failed error       // what it answered last, if that was no key
	failAt time.Time
	asked  int   // raised to make an answer that is on its way one of the past
	gone   error // for good: destroyed, or the keyring is closed
}

var _ seal.KEK = (*liveKey)(nil)

func (r *Keyring) newLive(rec keyRecord) *liveKey {
	l := &liveKey{unwrap: r.unwrap, life: &r.life}
	l.rec.Store(&rec)
	return l
}

// record is the key's record. It is not to be changed.
func (l *liveKey) record() *keyRecord { return l.rec.Load() }

// ID names the key in slots.
func (l *liveKey) ID() [16]byte { return l.record().ID }

// Derive is HKDF-SHA256 of the key, unwrapping it first if need be.
func (l *liveKey) Derive(salt, info []byte) (out []byte, err error) {
	err = l.with(context.Background(), func(k *secret.Key) error {
		out, err = k.Derive(salt, info)
		return err
	})
	return out, err
}

// alive is nil if the key is unwrapped now, or could be.
func (l *liveKey) alive(ctx context.Context) error {
	return l.with(ctx, func(*secret.Key) error { return nil })
}

// with calls f with the unwrapped key.
func (l *liveKey) with(ctx context.Context, f func(*secret.Key) error) error {
	if !l.used.Load() {
		l.used.Store(true)
	}
	if done, err := l.try(f); done {
		l.life.hits.Add(1)
		return err
	}
	l.life.misses.Add(1)
	if err := l.ask(ctx); err != nil {
		return err
	}
	if done, err := l.try(f); done {
		return err
	}
	// Wiped again between the two: its lifetime is shorter than a call.
	return fmt.Errorf("%w: %s outlived its lifetime while it was unwrapped", efs.ErrUnavailable, l.record())
}

// try calls f if the key is unwrapped and within its lifetime.
func (l *liveKey) try(f func(*secret.Key) error) (done bool, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.gone != nil {
		return true, l.gone
	}
	if l.key == nil || !l.life.now().Before(l.end()) {
		return false, nil
	}
	return true, f(l.key)
}

// end is when the key must not be used any more. Called with mu held.
func (l *liveKey) end() time.Time {
	end := l.since.Add(l.life.ttl)
	if errors.Is(l.failed, efs.ErrUnavailable) {
		end = end.Add(l.life.grace)
	}
	return end
}

// ask unwraps the key, unless somebody else just did. A failure stands for
// retryAfter.
func (l *liveKey) ask(ctx context.Context) error {
	l.asking.Lock()
	defer l.asking.Unlock()
	if done, err := l.try(func(*secret.Key) error { return nil }); done {
		return err
	}
	l.mu.RLock()
	failed, failAt := l.failed, l.failAt
	l.mu.RUnlock()
	if failed != nil && l.life.now().Before(failAt.Add(retryAfter)) {
		return failed
	}
	err := l.refresh(ctx)
	for errors.Is(err, errChanged) {
		err = l.refresh(ctx)
	}
	if errors.Is(err, efs.ErrUnavailable) {
		if done, gone := l.try(func(*secret.Key) error { return nil }); done {
			return gone // bridged
		}
	}
	return err
}

// refresh asks the KMS and takes its answer: a key begins a new life; no
// answer leaves the old one to its end; everything else ends it now. Called
// with asking held.
func (l *liveKey) refresh(ctx context.Context) error {
	start := l.life.now()
	l.mu.RLock()
	asked := l.asked
	l.mu.RUnlock()
	b, err := l.unwrapOnce(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("unwrapping the %s: %w", l.record(), ctx.Err()) // the caller left; the KMS said nothing
	}
	var key *secret.Key
	if err == nil {
		key, err = secret.NewKey(b)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		if key != nil {
			key.Destroy()
		}
		return l.gone
	}
	if l.asked != asked {
		if key != nil {
			key.Destroy()
		}
		return errChanged
	}
	l.failed, l.failAt = err, l.life.now()
	if errors.Is(err, efs.ErrUnavailable) {
		return err
	}
	l.wipe()
	l.key, l.since = key, start
	l.used.Store(false)
	return err
}

func (l *liveKey) unwrapOnce(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, l.life.timeout)
	defer cancel()
	b, err := l.unwrap(ctx, l.record())
	if err == nil {
		l.life.unwrapped.Add(1)
		return b, nil
	}
	l.life.notUnwrapped.Add(1)
	err = l.record().answer(err)
	if errors.Is(err, efs.ErrWrongKey) {
		err = fmt.Errorf("%w; keys.db belongs to another root, or its records were exchanged: "+
			"put back the keys.db that belongs to this root", err)
	}
	return nil, fmt.Errorf("unwrapping the %s: %w", l.record(), err)
}

// answer makes a deadline that passed what it is: a KMS that does not answer.
func (r *keyRecord) answer(err error) error {
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, efs.ErrUnavailable) {
		return fmt.Errorf("%w: KMS %s does not answer", efs.ErrUnavailable, r.Provider)
	}
	return err
}

// sweep wipes the key at the end of its life, and reports whether it is to be
// unwrapped again: in use, and half its life over.
func (l *liveKey) sweep() (stale bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.key == nil {
		return false
	}
	now := l.life.now()
	if !now.Before(l.end()) {
		l.wipe()
		return false
	}
	half := l.since.Add(l.life.ttl / 2)
	waited := l.failed == nil || !now.Before(l.failAt.Add(retryAfter))
	return l.used.Load() && !now.Before(half) && waited
}

// renew unwraps the key again unless that is under way.
func (l *liveKey) renew(ctx context.Context) error {
	if !l.asking.TryLock() {
		return nil
	}
	defer l.asking.Unlock()
	return l.refresh(ctx)
}

// destroy ends the key for good: err is what users of the key are told.
func (l *liveKey) destroy(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wipe()
	l.gone = err
}

// wipe is called with mu held.
func (l *liveKey) wipe() {
	if l.key != nil {
		l.key.Destroy()
		l.key = nil
	}
}
