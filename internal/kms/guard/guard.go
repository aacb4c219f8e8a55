// Package guard stands between EFS and a KMS that may be slow, away or coming
// back: every call has a deadline; what may be repeated is repeated when there
// was no answer, after pauses with full jitter (M. Brooker, "Exponential
// Backoff And Jitter", 2015); a KMS that keeps failing to answer is left alone
// but for one probe at a time (the circuit breaker of M. Nygard, "Release
// It!"); and when it is back, one call goes ahead before all the others.
//
// An answer is an answer: a KMS that refuses is never asked twice, and a
// refusal is handed on as it is.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/tracing"
)

// Options tune a guard. The zero value is usable.
type Options struct {
	Timeout    time.Duration // of a call with all its tries; one try has a third of it. 0: 10 s
	Attempts   int           // tries of a call that may be repeated. 0: 4
	Backoff    time.Duration // the longest pause before the second try; doubled for each further one. 0: 100 ms
	Ceiling    time.Duration // of that pause. 0: 2 s
	Failures   int           // tries without an answer, in a row, after which the KMS counts as away. 0: 3
	Probe      time.Duration // the longest pause between probes of a KMS that is away. 0: 15 s
	Concurrent int           // calls under way at once; others queue. 0: 16

	// Observe is told of every try: the method in small letters ("unwrap",
	// "describe", …), what came of it (one of the Outcomes) and how long it took.
	Observe func(op, outcome string, took time.Duration)
	// Changed is told when the KMS goes away and when it answers again. It must
	// neither block nor call the KMS.
	Changed func(State)
	Logger  *slog.Logger    // nil: none
	Tracer  *tracing.Tracer // makes a span of every try; nil: nobody does
}

func (o *Options) defaults() {
	set := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	count := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	set(&o.Timeout, 10*time.Second)
	set(&o.Backoff, 100*time.Millisecond)
	set(&o.Ceiling, 2*time.Second)
	set(&o.Probe, 15*time.Second)
	count(&o.Attempts, 4)
	count(&o.Failures, 3)
	count(&o.Concurrent, 16)
	if o.Observe == nil {
		o.Observe = func(string, string, time.Duration) {}
	}
	if o.Changed == nil {
		o.Changed = func(State) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// State is how a KMS is, as its last answers tell.
type State struct {
	Ready   bool          // false while it is left alone for want of an answer
	Err     error         // why it is not ready
	Since   time.Time     // of the present Ready
	Latency time.Duration // of its last answer
}

// KMS is a guarded efs.KMS.
type KMS struct {
	kms   efs.KMS
	o     Options
	slots chan struct{} // one for each call under way

	mu       sync.Mutex
	away     bool          // left alone but for probes
	trial    chan struct{} // closed when the first call after an outage has ended; nil: none is due
	due      bool          // the next call is that first one
	failures int           // tries without an answer since the last one with
	outages  int           // in a row, without an answered call between them
	state    State

	stop context.CancelFunc
	ctx  context.Context
	work sync.WaitGroup
}

var _ efs.KMS = (*KMS)(nil)

// New guards k. Close ends what the guard does in the background; k is the
// caller's to close, after that.
func New(k efs.KMS, o Options) *KMS {
	o.defaults()
	g := &KMS{kms: k, o: o, slots: make(chan struct{}, o.Concurrent), state: State{Ready: true, Since: time.Now()}}
	g.ctx, g.stop = context.WithCancel(context.Background())
	return g
}

// Close ends probing and waits for it.
func (g *KMS) Close() error {
	g.mu.Lock()
	g.stop()
	g.mu.Unlock()
	g.work.Wait()
	return nil
}

// State returns how the KMS is, without asking it.
func (g *KMS) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

// The outcomes that an observer is told.
const (
	OutcomeOK          = "ok"
	OutcomeRefused     = "refused"
	OutcomeNotFound    = "not-found"
	OutcomeWrongKey    = "wrong-key"
	OutcomeUnavailable = "unavailable" // no answer
	OutcomeRejected    = "rejected"    // not asked, since it is away
	OutcomeCancelled   = "cancelled"   // the caller left
	OutcomeOther       = "error"       // another answer than what was asked for
)

// call makes one call of the KMS with its deadline, again only if that is
// harmless.
func call[T any](ctx context.Context, g *KMS, op string, again bool, f func(context.Context) (T, error)) (T, error) {
	bounded, cancel := context.WithTimeout(ctx, g.o.Timeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		v, err := try(bounded, ctx, g, op, f)
		var rejected *awayError
		if !errors.Is(err, efs.ErrUnavailable) || errors.As(err, &rejected) || !again || attempt == g.o.Attempts {
			return v, err
		}
		if !g.pause(bounded, attempt) {
			return v, err
		}
	}
}

// try asks the KMS once. caller is the context of whom it is asked for.
func try[T any](ctx, caller context.Context, g *KMS, op string, f func(context.Context) (T, error)) (v T, err error) {
	leave, err := g.enter(ctx)
	if err != nil {
		if caller.Err() != nil {
			err = caller.Err()
		}
		g.o.Observe(op, OutcomeRejected, 0)
		return v, err
	}
	single, cancel := context.WithTimeout(ctx, g.o.Timeout/3)
	defer cancel()
	single, span := g.trace(single, op)
	start := time.Now()
	v, err = f(single)
	took := time.Since(start)
	left := err != nil && caller.Err() != nil
	if !left {
		err = g.answer(err)
	}
	leave(err, left, took)
	came := outcome(err, left)
	traced(span, came)
	g.o.Observe(op, came, took)
	return v, err
}

// trace begins the span of a try. Asking whether a KMS is ready, which is done
// every few seconds, has none.
func (g *KMS) trace(ctx context.Context, op string) (context.Context, tracing.Span) {
	if g.o.Tracer == nil || op == "ready" {
		return ctx, tracing.Span{}
	}
	ctx, span := g.o.Tracer.Call(ctx, "kms."+op)
	span.Text("efs.kms.provider", g.kms.Name())
	return ctx, span
}

func traced(span tracing.Span, outcome string) {
	span.Text("efs.kms.outcome", outcome)
	if outcome != OutcomeOK && outcome != OutcomeCancelled {
		span.Failed(outcome)
	}
	span.End()
}

// answer makes a deadline of the guard's own what it is: a KMS that does not
// answer.
func (g *KMS) answer(err error) error {
	if err == nil || errors.Is(err, efs.ErrUnavailable) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: KMS %s did not answer in time", efs.ErrUnavailable, g.kms.Name())
	}
	return err
}

func outcome(err error, left bool) string {
	switch {
	case err == nil:
		return OutcomeOK
	case left:
		return OutcomeCancelled
	case errors.Is(err, efs.ErrUnavailable):
		return OutcomeUnavailable
	case errors.Is(err, efs.ErrRefused):
		return OutcomeRefused
	case errors.Is(err, efs.ErrNotFound):
		return OutcomeNotFound
	case errors.Is(err, efs.ErrWrongKey):
		return OutcomeWrongKey
	}
	return OutcomeOther
}
