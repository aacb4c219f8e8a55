package guard

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/efs-project/efs"
)

// awayError rejects a call of a KMS that is left alone. It wraps
// efs.ErrUnavailable.
type awayError struct {
	kms   string
	since time.Time
	last  error
}

func (e *awayError) Error() string {
	return fmt.Sprintf("%v: KMS %s has not answered since %s and is being probed (it was: %v)",
		efs.ErrUnavailable, e.kms, e.since.UTC().Format(time.RFC3339), e.last)
}

// Unwrap returns efs.ErrUnavailable.
func (e *awayError) Unwrap() error { return efs.ErrUnavailable }

// enter lets a call through to the KMS, or tells why not. The call says with
// leave what came of it.
func (g *KMS) enter(ctx context.Context) (leave func(err error, left bool, took time.Duration), err error) {
	first := false
	for {
		wait, lead, err := g.gate()
		if err != nil {
			return nil, err
		}
		if wait == nil {
			first = lead
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, g.answer(ctx.Err())
		}
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		if first {
			g.passOn()
		}
		return nil, g.answer(ctx.Err())
	}
	return func(err error, left bool, took time.Duration) {
		<-g.slots
		g.record(first, err, left, took)
	}, nil
}

// gate looks at the state: the KMS is away (err), or another call is to be
// waited for, or the call may go, as the first after an outage or like any.
func (g *KMS) gate() (wait <-chan struct{}, first bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.away:
		return nil, false, &awayError{g.kms.Name(), g.state.Since, g.state.Err}
	case g.due:
		g.due, g.trial = false, make(chan struct{})
		return nil, true, nil
	case g.trial != nil:
		return g.trial, false, nil
	}
	return nil, false, nil
}

// passOn lets the next call be the first, where this one learnt nothing.
func (g *KMS) passOn() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.due = true
	g.endTrial()
}

// endTrial is called with mu held.
func (g *KMS) endTrial() {
	close(g.trial)
	g.trial = nil
}

// record takes note of what came of a call.
func (g *KMS) record(first bool, err error, left bool, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if first {
		defer g.endTrial()
	}
	switch {
	case left:
		g.due = g.due || first
	case !errors.Is(err, efs.ErrUnavailable): // an answer, also if it is a refusal
		g.failures, g.outages, g.state.Latency = 0, 0, took
	default:
		g.failures++
		if !g.away && (first || g.trial == nil && g.failures >= g.o.Failures) {
			g.leaveAlone(err)
		}
	}
}

// leaveAlone opens the breaker. Called with mu held.
func (g *KMS) leaveAlone(err error) {
	g.away, g.due = true, false
	g.outages++
	if g.state.Ready {
		g.state = State{Since: time.Now(), Latency: g.state.Latency}
		g.o.Logger.Warn("a KMS does not answer: it is probed, and not asked", "kms", g.kms.Name(), "err", err)
	}
	g.state.Err = err
	g.o.Changed(g.state)
	if g.ctx.Err() == nil {
		outages := g.outages
		g.work.Go(func() { g.probe(outages) })
	}
}

// probe asks whether the KMS would answer until it does, one probe at a time.
// Pauses begin longer where the KMS answered probes before, but no call.
func (g *KMS) probe(outages int) {
	for n := outages; ; n++ {
		if !sleep(g.ctx, jitter(exponential(g.o.Backoff, g.o.Probe, n), 0.5)) {
			return
		}
		ctx, cancel := context.WithTimeout(g.ctx, g.o.Timeout/3)
		start := time.Now()
		err := g.answer(g.kms.Ready(ctx))
		cancel()
		if g.ctx.Err() != nil {
			return
		}
		g.o.Observe("ready", outcome(err, false), time.Since(start))
		if !errors.Is(err, efs.ErrUnavailable) {
			g.back(time.Since(start))
			return
		}
		g.mu.Lock()
		g.state.Err = err
		g.mu.Unlock()
	}
}

// back lets a first call through.
func (g *KMS) back(took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.o.Logger.Info("a KMS answers again", "kms", g.kms.Name(), "away", time.Since(g.state.Since).Round(time.Millisecond))
	g.away, g.due, g.failures = false, true, 0
	g.state = State{Ready: true, Since: time.Now(), Latency: took}
	g.o.Changed(g.state)
}

// pause waits before the next try, and reports whether there is time for it.
func (g *KMS) pause(ctx context.Context, attempt int) bool {
	return sleep(ctx, jitter(exponential(g.o.Backoff, g.o.Ceiling, attempt-1), 0))
}

// exponential doubles d n times, up to ceiling.
func exponential(d, ceiling time.Duration, n int) time.Duration {
	for range n {
		if d >= ceiling/2 {
			return ceiling
		}
		d *= 2
	}
	return min(d, ceiling)
}

// jitter picks a duration between least·d and d.
func jitter(d time.Duration, least float64) time.Duration {
	return time.Duration((least + (1-least)*rand.Float64()) * float64(d))
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
