package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs/internal/latency"
)

// patience is how much longer than planned a round may take before it is
// given up.
const patience = 2 * time.Minute

// giveUp is how many errors a client makes before it stops.
const giveUp = 20

// clients runs n clients at once, each with a connection of its own, and ends
// when all of them have. Connections are made before start is told the time,
// and closed when ctx ends.
func clients(ctx context.Context, t Target, n int, limit time.Duration, do func(i int, c *conn)) (time.Duration, error) {
	all := make([]*conn, n)
	for i := range all {
		c, err := dial(ctx, t, time.Now().Add(limit+patience))
		if err != nil {
			return 0, err
		}
		defer c.Close()
		all[i] = c
	}
	stop := context.AfterFunc(ctx, func() {
		for _, c := range all {
			c.Close()
		}
	})
	defer stop()
	var wg sync.WaitGroup
	start := time.Now()
	for i, c := range all {
		wg.Go(func() { do(i, c) })
	}
	wg.Wait()
	return time.Since(start), ctx.Err()
}

// tally is what one client saw.
type tally struct {
	times  latency.Histogram
	errors int64
	first  string
}

// do sends a request and counts how long it took. It returns false if the
// client is of no more use.
func (y *tally) do(ctx context.Context, c *conn, r request) bool {
	at := time.Now()
	err := c.do(r)
	if err == nil {
		y.times.Add(time.Since(at))
		return true
	}
	if y.errors++; y.first == "" {
		y.first = err.Error()
	}
	if y.errors >= giveUp || ctx.Err() != nil {
		return false
	}
	return c.redial(ctx) == nil // what is left of the answer is not looked for
}

// load runs w against t for d. Numbers of stored objects are taken from seq.
func load(ctx context.Context, t Target, w Work, d time.Duration, seq *atomic.Int64) (Result, error) {
	return loadUntil(ctx, t, w, d, seq, nil)
}

// loadUntil is load that ends, instead of after d, when done is closed.
func loadUntil(ctx context.Context, t Target, w Work, d time.Duration, seq *atomic.Int64, done <-chan struct{}) (Result, error) {
	tallies := make([]tally, w.Clients)
	server, own := cpuTime(t.PID()), ownCPU()
	elapsed, err := clients(ctx, t, w.Clients, d, func(i int, c *conn) {
		y := &tallies[i]
		end := time.Now().Add(d)
		for more := true; more; {
			select {
			case <-done:
				return
			default:
			}
			if done == nil && !time.Now().Before(end) {
				return
			}
			if w.Method == http.MethodPut {
				more = y.do(ctx, c, w.store(seq.Add(1)))
			} else {
				more = y.do(ctx, c, w.read())
			}
		}
	})
	if err != nil {
		return Result{}, err
	}
	res := summary(tallies)
	res.Elapsed, res.ServerCPU, res.ClientCPU = elapsed, cpuTime(t.PID())-server, ownCPU()-own
	return res, nil
}

func summary(tallies []tally) Result {
	var all latency.Histogram
	var res Result
	for i := range tallies {
		all.Merge(&tallies[i].times)
		res.Errors += tallies[i].errors
		if res.First == "" {
			res.First = tallies[i].first
		}
	}
	res.Ops, res.Max = all.Count(), all.Max()
	res.P50, res.P99, res.P999 = all.Quantile(0.5), all.Quantile(0.99), all.Quantile(0.999)
	return res
}

// each sends one request for each number from first to last, by n clients,
// and fails with the first error.
func each(ctx context.Context, t Target, n int, first, last int64, ask func(int64) request) error {
	next := atomic.Int64{}
	next.Store(first)
	errs := make(chan error, n)
	_, err := clients(ctx, t, n, patience, func(_ int, c *conn) {
		for k := next.Add(1) - 1; k <= last; k = next.Add(1) - 1 {
			if err := c.do(ask(k)); err != nil {
				errs <- err
				return
			}
		}
	})
	if err != nil {
		return err
	}
	close(errs)
	return <-errs
}

// prepare stores the objects that w reads, and reads the first of them back,
// every byte of it.
func prepare(ctx context.Context, t Target, w Work) error {
	if w.Method != http.MethodGet {
		return nil
	}
	n := min(w.Clients, w.Keys)
	if err := each(ctx, t, n, 0, int64(w.Keys)-1, w.store); err != nil {
		return err
	}
	return each(ctx, t, 1, 0, 0, func(n int64) request {
		return request{method: http.MethodGet, key: w.key(n), object: n, size: w.Size, check: true}
	})
}

// remove deletes objects of w.
func remove(ctx context.Context, t Target, w Work, first, last int64) error {
	if last < first {
		return nil
	}
	if err := each(ctx, t, 4, first, last, w.remove); err != nil {
		return fmt.Errorf("%s: removing what was stored: %w", t.Name(), err)
	}
	return nil
}
