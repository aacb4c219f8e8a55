package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	mrand "math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// storeClients is how many connections store at once.
const storeClients = 16

// Rate is a measured run of stores.
type Rate struct {
	Files    int           `json:"files"`
	Elapsed  time.Duration `json:"elapsed_ns"`
	PerSec   float64       `json:"per_second"`
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	CPU      time.Duration `json:"server_cpu_ns_each"` // user and system
	AnonPeak int64         `json:"rss_anon_peak_bytes"`
}

// each calls do for from ≤ n < to on clients connections at once, and returns
// how long each call took.
func (s *server) each(ctx context.Context, clients, from, to int, do func(c *conn, n int) error) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := make([]time.Duration, to-from)
	var next atomic.Int64
	next.Store(int64(from))
	conns := make([]*conn, clients)
	for i := range conns {
		c, err := s.dial()
		if err != nil {
			return nil, err
		}
		defer c.close()
		conns[i] = c
	}
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < to && ctx.Err() == nil; n = int(next.Add(1)) - 1 {
				at := time.Now()
				if err := do(c, n); err != nil {
					cancel(err)
					return
				}
				took[n-from] = time.Since(at)
			}
		})
	}
	wg.Wait()
	return took, context.Cause(ctx)
}

// store stores files from ≤ n < to, each confirmed.
func (s *server) store(ctx context.Context, from, to int, path func(int) string) (Rate, error) {
	random := make([]byte, fileSize)
	rand.Read(random)
	bodies := sync.Pool{New: func() any { b := slices.Clone(random); return &b }}
	used, begun := cpu(s.pid()), time.Now()
	took, err := s.each(ctx, storeClients, from, to, func(c *conn, n int) error {
		b := bodies.Get().(*[]byte)
		defer bodies.Put(b)
		stamp(*b, n)
		_, err := c.expect(201, "PUT", "/data/"+path(n), *b)
		return err
	})
	if err != nil {
		return Rate{}, err
	}
	r := Rate{Files: to - from, Elapsed: time.Since(begun), AnonPeak: s.mem.peak.Load()}
	r.PerSec = float64(r.Files) / r.Elapsed.Seconds()
	r.CPU = (cpu(s.pid()) - used) / time.Duration(r.Files)
	r.P50, r.P99 = quantile(took, 50), quantile(took, 99)
	return r, nil
}

// mkdirs makes directories, so that stores that follow find them.
func (s *server) mkdirs(ctx context.Context, p plan, from, to int) error {
	_, err := s.each(ctx, storeClients, from, to, func(c *conn, n int) error {
		_, err := c.expect(201, "MKCOL", "/data/"+p.dir(n), nil)
		return err
	})
	return err
}

// Lookups is how long it took to find files among many, over one connection.
type Lookups struct {
	Head time.Duration `json:"head_p50_ns"` // the entry alone
	Get  time.Duration `json:"get_p50_ns"`  // with the content, compared
}

const lookups = 10_000

// look asks for files at random among the first stored.
func (s *server) look(ctx context.Context, p plan, stored int) (l Lookups, err error) {
	took, err := s.each(ctx, 1, 0, lookups, func(c *conn, _ int) error {
		_, err := c.expect(200, "HEAD", "/data/"+p.file(mrand.IntN(stored)), nil)
		return err
	})
	if err != nil {
		return l, err
	}
	l.Head = quantile(took, 50)
	took, err = s.each(ctx, 1, 0, lookups, func(c *conn, _ int) error { return read(c, p, mrand.IntN(stored)) })
	l.Get = quantile(took, 50)
	return l, err
}

// read reads file n and compares it.
func read(c *conn, p plan, n int) error {
	b, err := c.expect(200, "GET", "/data/"+p.file(n), nil)
	if err == nil && !stamped(b, n) {
		err = fmt.Errorf("%s holds another file's content", p.file(n))
	}
	return err
}

// pageNames is how many names a measured page holds.
const pageNames = 1000

// page asks for the page of the big directory after a name, compares it with
// names, which are all of them in order, and returns how long it took.
func (s *server) page(c *conn, names []string, after int) (time.Duration, error) {
	target := fmt.Sprintf("/data/%s/?limit=%d", bigDir, pageNames)
	if after > 0 {
		target += "&after=" + url.QueryEscape(names[after-1])
	}
	begun := time.Now()
	b, err := c.expect(200, "GET", target, nil)
	took := time.Since(begun)
	if err != nil {
		return took, err
	}
	var got struct {
		Entries []struct{ Name string }
	}
	if err := json.Unmarshal(b, &got); err != nil {
		return took, err
	}
	want := names[after:min(after+pageNames, len(names))]
	if len(got.Entries) != len(want) {
		return took, fmt.Errorf("%s: %d names instead of %d", target, len(got.Entries), len(want))
	}
	for i, e := range got.Entries {
		if e.Name != want[i] {
			return took, fmt.Errorf("%s: name %d is '%s' instead of '%s'", target, i, e.Name, want[i])
		}
	}
	return took, nil
}

// quantile sorts d and returns its q-th hundredth.
func quantile(d []time.Duration, q int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)*q/100, len(d)-1)]
}
