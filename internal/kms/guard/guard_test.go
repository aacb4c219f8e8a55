package guard

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/kmstest"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
)

// A guarded KMS keeps the contract of the KMS that it guards.
func TestConformance(t *testing.T) {
	boxes := map[efs.KMS]*starter.Box{}
	open := func(t *testing.T, box *starter.Box) efs.KMS {
		k, err := local.Open(box)
		if err != nil {
			t.Fatal(err)
		}
		g := New(k, Options{})
		boxes[g] = box
		t.Cleanup(func() {
			if err := g.Close(); err != nil {
				t.Error(err)
			}
			k.Close()
		})
		return g
	}
	kmstest.Run(t, kmstest.Harness{
		New: func(t *testing.T) efs.KMS {
			key, err := secret.RandomKey()
			if err != nil {
				t.Fatal(err)
			}
			box, err := starter.CreateBox(filepath.Join(t.TempDir(), ".server"), key, nil)
			if err != nil {
				t.Fatal(err)
			}
			return open(t, box)
		},
		Reopen: func(t *testing.T, k efs.KMS) efs.KMS { return open(t, boxes[k]) },
	})
}

// remote is a KMS at the other end of a line that can be cut.
type remote struct {
	efs.KMS
	mu      sync.Mutex
	answer  func(ctx context.Context) error // nil: at once, and well
	calls   []time.Time                     // of Unwrap and RotateKey
	probes  []time.Time
	running atomic.Int64
	most    atomic.Int64 // running at once
}

func (r *remote) Name() string { return "remote" }

func (r *remote) set(answer func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *remote) ask(ctx context.Context, times *[]time.Time) error {
	n := r.running.Add(1)
	defer r.running.Add(-1)
	r.mu.Lock()
	*times = append(*times, time.Now())
	r.most.Store(max(r.most.Load(), n))
	answer := r.answer
	r.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(ctx)
}

func (r *remote) Unwrap(ctx context.Context, _ string, _ []byte, _ efs.Binding) ([]byte, error) {
	if err := r.ask(ctx, &r.calls); err != nil {
		return nil, err
	}
	return make([]byte, 32), nil
}

func (r *remote) RotateKey(ctx context.Context, _ string) (efs.KeyInfo, error) {
	return efs.KeyInfo{}, r.ask(ctx, &r.calls)
}

func (r *remote) Ready(ctx context.Context) error { return r.ask(ctx, &r.probes) }

func (r *remote) asked() (calls, probes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls), len(r.probes)
}

func gone(context.Context) error { return fmt.Errorf("%w: connection refused", efs.ErrUnavailable) }

// hung answers when it is asked no more.
func hung(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// guarded runs f in a bubble whose time passes only while everybody waits.
func guarded(t *testing.T, o Options, f func(t *testing.T, r *remote, g *KMS)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &remote{}
		g := New(r, o)
		f(t, r, g)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}

func unwrap(ctx context.Context, g *KMS) error {
	_, err := g.Unwrap(ctx, "a", nil, efs.Binding{})
	return err
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// A short outage is bridged: the call waits and tries again.
func TestRetries(t *testing.T) {
	guarded(t, Options{}, func(t *testing.T, r *remote, g *KMS) {
		failures := 2
		r.set(func(ctx context.Context) error {
			if failures--; failures >= 0 {
				return gone(ctx)
			}
			return nil
		})
		if err := unwrap(t.Context(), g); err != nil {
			t.Error(err)
		}
		if calls, _ := r.asked(); calls != 3 {
			t.Errorf("asked %d times", calls)
		}
		if !g.State().Ready {
			t.Errorf("state %+v", g.State())
		}
	})
}

// An answer is an answer: nothing but silence is asked again.
func TestAnswersAreNotRepeated(t *testing.T) {
	for _, answer := range []error{efs.ErrRefused, efs.ErrNotFound, efs.ErrWrongKey, efs.ErrUnsupported, errors.New("something else")} {
		guarded(t, Options{Failures: 1}, func(t *testing.T, r *remote, g *KMS) {
			r.set(func(context.Context) error { return answer })
			for range 5 {
				wantError(t, "the answer", unwrap(t.Context(), g), answer)
			}
			if calls, probes := r.asked(); calls != 5 || probes != 0 || !g.State().Ready {
				t.Errorf("%v: asked %d times, probed %d times, state %+v", answer, calls, probes, g.State())
			}
		})
	}
}

// What would have another effect the second time is done once.
func TestRotationIsNotRepeated(t *testing.T) {
	guarded(t, Options{}, func(t *testing.T, r *remote, g *KMS) {
		r.set(gone)
		_, err := g.RotateKey(t.Context(), "a")
		wantError(t, "RotateKey", err, efs.ErrUnavailable)
		if calls, _ := r.asked(); calls != 1 {
			t.Errorf("rotated %d times", calls)
		}
	})
}

// A KMS that hangs keeps nobody longer than the deadline, and its silence is
// what it is called.
func TestDeadline(t *testing.T) {
	guarded(t, Options{Timeout: 9 * time.Second}, func(t *testing.T, r *remote, g *KMS) {
		r.set(hung)
		start := time.Now()
		wantError(t, "a KMS that hangs", unwrap(t.Context(), g), efs.ErrUnavailable)
		if took := time.Since(start); took > 9*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// A caller that leaves is let go at once, and says nothing about the KMS.
func TestCallerLeaves(t *testing.T) {
	guarded(t, Options{Failures: 1}, func(t *testing.T, r *remote, g *KMS) {
		r.set(hung)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		wantError(t, "a caller that left", unwrap(ctx, g), context.DeadlineExceeded)
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %s", took)
		}
		if !g.State().Ready {
			t.Errorf("state %+v", g.State())
		}
	})
}

// A KMS that is away is not asked by anybody: calls fail at once, and one
// probe at a time looks whether it is back, with growing pauses up to a
// ceiling.
func TestAwayKMSIsLeftAlone(t *testing.T) {
	guarded(t, Options{Probe: 8 * time.Second}, func(t *testing.T, r *remote, g *KMS) {
		r.set(gone)
		wantError(t, "the first call", unwrap(t.Context(), g), efs.ErrUnavailable)
		calls, _ := r.asked()
		if calls != 3 || g.State().Ready || g.State().Err == nil {
			t.Fatalf("asked %d times, state %+v", calls, g.State())
		}
		end := time.Now().Add(10 * time.Minute)
		for time.Now().Before(end) {
			start := time.Now()
			wantError(t, "a call of an away KMS", unwrap(t.Context(), g), efs.ErrUnavailable)
			if took := time.Since(start); took != 0 {
				t.Fatalf("it took %s to say no", took)
			}
			time.Sleep(time.Second)
		}
		after, probes := r.asked()
		if after != calls {
			t.Errorf("an away KMS was asked %d times", after-calls)
		}
		// Pauses are between half of the ceiling and the ceiling.
		if probes < 600/8 || probes > 600/4+10 {
			t.Errorf("%d probes in ten minutes", probes)
		}
		if r.most.Load() != 1 {
			t.Errorf("%d calls at once", r.most.Load())
		}
	})
}

// When the KMS is back one call goes first; the others, however many, go after
// it, and never more at once than was agreed.
func TestNoStampede(t *testing.T) {
	guarded(t, Options{Concurrent: 4}, func(t *testing.T, r *remote, g *KMS) {
		r.set(gone)
		wantError(t, "the first call", unwrap(t.Context(), g), efs.ErrUnavailable)
		r.set(func(ctx context.Context) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		for !g.State().Ready {
			time.Sleep(time.Millisecond)
		}
		r.mu.Lock()
		r.calls = nil
		r.mu.Unlock()
		r.most.Store(0)
		back := time.Now()
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				if err := unwrap(t.Context(), g); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		slices.SortFunc(r.calls, func(a, b time.Time) int { return a.Compare(b) })
		if len(r.calls) != 40 || r.calls[0].Sub(back) != 0 || r.calls[1].Sub(back) < 100*time.Millisecond || r.most.Load() != 4 {
			t.Errorf("%d calls, the second %s after the first, %d at once", len(r.calls), r.calls[1].Sub(r.calls[0]), r.most.Load())
		}
	})
}

// A KMS that answers probes but no calls is left alone again after one call,
// and for longer; whoever waited for that call is told so at once.
func TestFirstCallFails(t *testing.T) {
	guarded(t, Options{}, func(t *testing.T, r *remote, g *KMS) {
		r.set(gone)
		wantError(t, "the first call", unwrap(t.Context(), g), efs.ErrUnavailable)
		for round := range 3 {
			r.set(nil)
			for !g.State().Ready {
				time.Sleep(time.Millisecond)
			}
			r.set(func(ctx context.Context) error {
				time.Sleep(50 * time.Millisecond)
				return gone(ctx)
			})
			before, _ := r.asked()
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { wantError(t, "a call", unwrap(t.Context(), g), efs.ErrUnavailable) })
			}
			wg.Wait()
			if after, _ := r.asked(); after != before+1 || g.State().Ready {
				t.Errorf("round %d: asked %d times, state %+v", round, after-before, g.State())
			}
		}
	})
}

// A first caller that leaves is followed by one other, not by all.
func TestFirstCallerLeaves(t *testing.T) {
	guarded(t, Options{}, func(t *testing.T, r *remote, g *KMS) {
		r.set(gone)
		wantError(t, "the first call", unwrap(t.Context(), g), efs.ErrUnavailable)
		r.set(nil)
		for !g.State().Ready {
			time.Sleep(time.Millisecond)
		}
		r.set(hung)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { wantError(t, "the one that leaves", unwrap(ctx, g), context.Canceled) })
		synctest.Wait()
		r.set(func(context.Context) error {
			time.Sleep(50 * time.Millisecond)
			return nil
		})
		for range 5 {
			wg.Go(func() {
				if err := unwrap(t.Context(), g); err != nil {
					t.Errorf("one that waited: %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		if n := r.running.Load(); n != 1 {
			t.Errorf("%d calls follow the one that left", n)
		}
		wg.Wait()
	})
}

// Whoever watches is told of each try, and of each change of state once.
func TestObservers(t *testing.T) {
	var mu sync.Mutex
	tries := map[string]int{}
	var states []bool
	o := Options{
		Observe: func(op, outcome string, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			tries[op+" "+outcome]++
		},
		Changed: func(s State) { states = append(states, s.Ready) },
	}
	guarded(t, o, func(t *testing.T, r *remote, g *KMS) {
		if err := unwrap(t.Context(), g); err != nil {
			t.Error(err)
		}
		r.set(func(context.Context) error { return efs.ErrRefused })
		wantError(t, "refused", unwrap(t.Context(), g), efs.ErrRefused)
		r.set(gone)
		wantError(t, "gone", unwrap(t.Context(), g), efs.ErrUnavailable)
		wantError(t, "rejected", unwrap(t.Context(), g), efs.ErrUnavailable)
		wantError(t, "Ready", g.Ready(t.Context()), efs.ErrUnavailable)
		r.set(nil)
		for !g.State().Ready {
			time.Sleep(time.Millisecond)
		}
		if err := g.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for what, n := range map[string]int{"unwrap ok": 1, "unwrap refused": 1, "unwrap unavailable": 3, "unwrap rejected": 2, "ready rejected": 1, "ready ok": 2} {
		if tries[what] != n {
			t.Errorf("%s: told %d times, want %d", what, tries[what], n)
		}
	}
	if !slices.Equal(states, []bool{false, true}) {
		t.Errorf("states %v", states)
	}
}
