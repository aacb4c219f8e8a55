package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Work is one kind of load.
type Work struct {
	Name    string
	Method  string
	Size    int // bytes of an object
	Clients int
	Keys    int // objects that reads choose from; they are stored first
}

// Result is what one Work did to one target in one round.
type Result struct {
	Ops     int64         `json:"ops"`
	Errors  int64         `json:"errors"`
	Elapsed time.Duration `json:"elapsed_ns"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	First   string        `json:"first_error,omitempty"`
}

// Rate returns operations a second.
func (r Result) Rate() float64 { return float64(r.Ops) / r.Elapsed.Seconds() }

func newClient(t Target, conns int) *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: t.TLS(), MaxIdleConns: conns, MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns,
		DisableCompression: true, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
	}}
}

func key(w Work, n int) string { return fmt.Sprintf("%s/%03d/%08d", w.Name, n%100, n) }

// prepare stores the objects that w reads.
func prepare(ctx context.Context, t Target, w Work) error {
	if w.Method != http.MethodGet {
		return nil
	}
	c := newClient(t, w.Clients)
	defer c.CloseIdleConnections()
	body := randomBody(w.Size)
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, w.Clients)
	for range w.Clients {
		wg.Go(func() {
			for n := next.Add(1) - 1; n < int64(w.Keys); n = next.Add(1) - 1 {
				if err := once(ctx, c, t, http.MethodPut, key(w, int(n)), body, 0, nil); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// load runs w against t for d.
func load(ctx context.Context, t Target, w Work, d time.Duration, seq *atomic.Int64) Result {
	c := newClient(t, w.Clients)
	defer c.CloseIdleConnections()
	body := randomBody(w.Size)
	var mu sync.Mutex
	var all []time.Duration
	var res Result
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(d)
	for range w.Clients {
		wg.Go(func() {
			buf := make([]byte, 256<<10)
			var took []time.Duration
			var errs int64
			var first string
			for time.Now().Before(end) && ctx.Err() == nil {
				var k string
				var b []byte
				if w.Method == http.MethodPut {
					k, b = key(w, int(seq.Add(1))), body
				} else {
					k = key(w, mrand.IntN(w.Keys))
				}
				at := time.Now()
				if err := once(ctx, c, t, w.Method, k, b, w.Size, buf); err != nil {
					if errs++; first == "" {
						first = err.Error()
					}
					continue
				}
				took = append(took, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			res.Errors += errs
			if res.First == "" {
				res.First = first
			}
		})
	}
	wg.Wait()
	res.Elapsed, res.Ops = time.Since(start), int64(len(all))
	if slices.Sort(all); len(all) > 0 {
		res.P50, res.P99 = all[len(all)/2], all[len(all)*99/100]
	}
	return res
}

// once does one request and reads the whole answer; a read of the wrong
// length is an error.
func once(ctx context.Context, c *http.Client, t Target, method, k string, body []byte, size int, buf []byte) error {
	r, err := t.Request(method, k, body)
	if err != nil {
		return err
	}
	resp, err := c.Do(r.WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		msg, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return fmt.Errorf("%s %s: %s: %s", method, k, resp.Status, msg)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
	if err == nil && method == http.MethodGet && n != int64(size) {
		err = fmt.Errorf("%s %s: %d bytes instead of %d", method, k, n, size)
	}
	return err
}

// randomBody is incompressible, as encrypted or compressed documents are.
func randomBody(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
