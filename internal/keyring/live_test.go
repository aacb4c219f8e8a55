package keyring

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

const ttl = 10 * time.Minute

func (l *liveKey) unwrapped() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.key != nil
}

func (l *liveKey) began() time.Time {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.since
}

// eventually waits for what a renewal in the background brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%s did not come about", what)
}

func TestKMSIsAskedOnce(t *testing.T) {
	b := newBench(t, Options{KeyTTL: ttl})
	k := b.create(t, "user-data", oneStage)
	b.reopen(t)
	b.one.unwraps.Store(0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			k, err := b.Keys(t.Context(), k.FS())
			if err != nil {
				t.Error(err)
				return
			}
			for range 50 {
				if err := wrapAll(t, k).open(k); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if st := b.Stats(); st.Unwrapped != 2 || st.NotUnwrapped != 0 || st.Misses < 1 || st.Hits < 8*50 {
		t.Errorf("counted %+v", st)
	}
	if n := b.one.unwraps.Load(); n != 2 {
		t.Errorf("the KMS was asked %d times for a root secret and an epoch key", n)
	}
}

func TestKeysInUseAreRenewedAtHalfTime(t *testing.T) {
	b := newBench(t, Options{KeyTTL: ttl})
	k := b.create(t, "user-data", oneStage)
	files := wrapAll(t, k)
	for range 5 {
		if err := errors.Join(files.open(k), k.Live()); err != nil {
			t.Fatal(err)
		}
		b.clock.Advance(ttl / 2)
		asked := b.one.unwraps.Load()
		b.sweep()
		eventually(t, "renewal of both keys", func() bool { return b.one.unwraps.Load() == asked+2 })
		b.sweep()
	}
}

func TestIdleKeysAreWiped(t *testing.T) {
	b := newBench(t, Options{KeyTTL: ttl})
	k := b.create(t, "user-data", oneStage)
	if err := errors.Join(wrapAll(t, k).open(k), k.Live()); err != nil {
		t.Fatal(err)
	}
	b.clock.Advance(ttl / 2)
	b.sweep()
	for _, l := range k.all() {
		eventually(t, "renewal of a used key", func() bool { return l.began().Equal(b.clock.Now()) })
	}
	b.clock.Advance(ttl - 1)
	for _, l := range k.all() {
		if l.sweep() {
			t.Errorf("the %s would be renewed, though nobody used it", l.record())
		}
	}
	b.clock.Advance(1)
	b.sweep()
	for _, l := range k.all() {
		if l.unwrapped() {
			t.Errorf("the %s outlived its lifetime", l.record())
		}
	}
	if err := wrapAll(t, k).open(k); err != nil {
		t.Errorf("asking the KMS again: %v", err)
	}
}

// The lifetime is hard: even without the sweeper no expired key is used.
func TestExpiredKeyIsNotUsed(t *testing.T) {
	b := newBench(t, Options{KeyTTL: ttl})
	k := b.create(t, "user-data", oneStage)
	files := wrapAll(t, k)
	b.one.answer(efs.ErrUnavailable)
	b.clock.Advance(ttl - 1)
	if err := files.open(k); err != nil {
		t.Errorf("within its lifetime: %v", err)
	}
	b.clock.Advance(1)
	wantError(t, "at the end of its lifetime", files.open(k), efs.ErrUnavailable)
	_, err := k.Recipients()
	wantError(t, "Recipients", err, efs.ErrUnavailable)
	wantError(t, "Live", k.Live(), efs.ErrUnavailable)
	_, err = k.Root("index")
	wantError(t, "Root", err, efs.ErrUnavailable)
}

func TestFailuresAreNotAskedAgainAtOnce(t *testing.T) {
	b := newBench(t, Options{KeyTTL: ttl})
	k := b.create(t, "user-data", oneStage)
	b.one.answer(efs.ErrUnavailable)
	b.clock.Advance(ttl)
	b.one.unwraps.Store(0)
	for range 20 {
		wantError(t, "Live", k.Live(), efs.ErrUnavailable)
	}
	if n := b.one.unwraps.Load(); n != 1 {
		t.Errorf("a KMS that is away was asked %d times within a second", n)
	}
	b.one.answer(nil)
	b.clock.Advance(retryAfter)
	if err := k.Live(); err != nil {
		t.Errorf("after the KMS came back: %v", err)
	}
}

func TestOutageGrace(t *testing.T) {
	b := newBench(t, Options{KeyTTL: ttl, OutageGrace: time.Hour})
	k := b.create(t, "user-data", oneStage)
	files := wrapAll(t, k)
	b.one.answer(efs.ErrUnavailable)
	b.clock.Advance(ttl)
	if err := errors.Join(files.open(k), k.Live()); err != nil {
		t.Errorf("an outage within the grace: %v", err)
	}
	b.clock.Advance(time.Hour - 1)
	b.sweep()
	if err := errors.Join(files.open(k), k.Live()); err != nil {
		t.Errorf("an outage at the end of the grace: %v", err)
	}
	b.clock.Advance(1)
	wantError(t, "after the grace", files.open(k), efs.ErrUnavailable)
	b.sweep()
	for _, l := range k.all() {
		if l.unwrapped() {
			t.Errorf("the %s outlived the grace", l.record())
		}
	}
}

// A grace bridges a KMS that is away, not one that was never asked.
func TestGraceNeedsAnOutage(t *testing.T) {
	b := newBench(t, Options{KeyTTL: ttl, OutageGrace: time.Hour})
	k := b.create(t, "user-data", oneStage)
	files := wrapAll(t, k)
	b.one.answer(efs.ErrRefused)
	b.clock.Advance(ttl)
	wantError(t, "an expired key and a KMS that refuses", files.open(k), efs.ErrRefused)
}

func TestRefusalDropsAtOnce(t *testing.T) {
	for _, answer := range []error{efs.ErrRefused, efs.ErrNotFound, efs.ErrWrongKey} {
		b := newBench(t, Options{KeyTTL: ttl, OutageGrace: time.Hour})
		k := b.create(t, "user-data", oneStage)
		files := wrapAll(t, k)
		if err := errors.Join(files.open(k), k.Live()); err != nil {
			t.Fatal(err)
		}
		b.one.answer(answer)
		b.clock.Advance(ttl / 2)
		b.sweep()
		eventually(t, "wiping", func() bool { return !k.set().roots[0].unwrapped() && !k.set().newest().keys[0].unwrapped() })
		wantError(t, "a file after the refusal", files.open(k), answer)
		wantError(t, "Live after the refusal", k.Live(), answer)
		b.one.answer(nil)
		b.clock.Advance(retryAfter)
		if err := files.open(k); err != nil {
			t.Errorf("after the KMS gave in: %v", err)
		}
	}
}

// A caller who leaves while the KMS is asked is not the KMS's answer.
func TestCallerWhoLeavesChangesNothing(t *testing.T) {
	b := newBench(t, Options{KeyTTL: ttl})
	k := b.create(t, "user-data", oneStage)
	b.clock.Advance(ttl)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.one.answer(context.Canceled)
	err := b.SetAnchor(ctx, efs.Head{FS: k.FS(), Revision: 1})
	wantError(t, "a caller who left", err, context.Canceled)
	b.one.answer(nil)
	if err := k.Live(); err != nil {
		t.Errorf("the next caller: %v", err)
	}
}

// Keys are used, renewed and destroyed at once; meant for the race detector.
func TestConcurrentLife(t *testing.T) {
	b := newBench(t, Options{KeyTTL: ttl})
	k := b.create(t, "user-data", twoStages)
	files := wrapAll(t, k)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if err := files.open(k); err != nil && !errors.Is(err, efs.ErrUnavailable) {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 {
		b.clock.Advance(ttl / 2)
		b.sweep()
	}
	wg.Wait()
}
