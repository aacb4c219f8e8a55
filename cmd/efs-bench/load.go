package main

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/latency"
)

// load is a run: clients that store and read.
type load struct {
	c    *client.Client
	s    *settings
	dir  string
	body *body
	next atomic.Int64 // number of the file stored last

	workers []worker
	began   time.Time
	elapsed time.Duration
}

// worker is one client's tally; the progress looks at it while it works.
type worker struct {
	mu          sync.Mutex
	store, read kind
	first       error
}

// kind is what was done of one kind.
type kind struct {
	times  latency.Histogram
	errors int64
}

func newLoad(c *client.Client, s *settings, dir string) *load {
	return &load{c: c, s: s, dir: dir, body: newBody(), workers: make([]worker, s.clients)}
}

// prepare stores the files that reads choose from. No request begins after ctx
// has ended, and none outlives patient; the same holds for run.
func (l *load) prepare(ctx, patient context.Context) error {
	if l.s.mode == "store" {
		return nil
	}
	var next atomic.Int64
	errs := make(chan error, l.s.clients)
	for range l.s.clients {
		go func() {
			for n := next.Add(1); n <= int64(l.s.files); n = next.Add(1) {
				err := ctx.Err()
				if err == nil {
					err = l.put(patient, "read", n)
				}
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range l.s.clients {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

// run measures until the time is over or ctx ends. What is under way at the end
// of the time is finished and counted.
func (l *load) run(ctx, patient context.Context, show *progress) {
	l.began = time.Now()
	var wg sync.WaitGroup
	for i := range l.workers {
		wg.Go(func() { l.work(ctx, patient, &l.workers[i], i) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			show.draw(time.Since(l.began), l.total())
		case <-done:
			l.elapsed = time.Since(l.began)
			return
		}
	}
}

// pauseAfterError keeps a client from asking a server that refuses all the
// time.
const pauseAfterError = 100 * time.Millisecond

func (l *load) work(ctx, patient context.Context, w *worker, i int) {
	for n := i; ctx.Err() == nil && time.Since(l.began) < l.s.duration; n++ {
		read := l.s.mode == "read" || l.s.mode == "mixed" && n%2 == 1
		start := time.Now()
		var err error
		if read {
			err = l.get(patient, rand.Int64N(int64(l.s.files))+1)
		} else {
			err = l.put(patient, "store", l.next.Add(1))
		}
		took := time.Since(start)
		if err != nil && patient.Err() != nil {
			return // interrupted is not failed
		}
		w.count(read, took, err)
		if err != nil {
			time.Sleep(pauseAfterError)
		}
	}
}

func (w *worker) count(read bool, took time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := &w.store
	if read {
		k = &w.read
	}
	if err == nil {
		k.times.Add(took)
		return
	}
	k.errors++
	if w.first == nil {
		w.first = err
	}
}

// name spreads files over directories, as people do.
func (l *load) name(kind string, n int64) string {
	return path.Join(l.dir, kind, fmt.Sprintf("%02d/%d", n%100, n))
}

func (l *load) put(ctx context.Context, kind string, n int64) error {
	_, err := l.c.Put(ctx, l.name(kind, n), io.NewSectionReader(l.body, n, l.s.size), client.PutOptions{Type: "application/octet-stream"})
	return err
}

func (l *load) get(ctx context.Context, n int64) error {
	name := l.name("read", n)
	r, err := l.c.Get(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.Copy(io.Discard, r)
	if err == nil && got != l.s.size {
		err = fmt.Errorf("reading %s: %d bytes instead of %d", name, got, l.s.size)
	}
	return err
}

// total is what all clients did until now.
func (l *load) total() *worker {
	var t worker
	for i := range l.workers {
		w := &l.workers[i]
		w.mu.Lock()
		t.store.merge(&w.store)
		t.read.merge(&w.read)
		if t.first == nil {
			t.first = w.first
		}
		w.mu.Unlock()
	}
	return &t
}

func (k *kind) merge(other *kind) {
	k.times.Merge(&other.times)
	k.errors += other.errors
}

func (l *load) firstError() error { return l.total().first }

// body is an endless file of random bytes, repeated.
type body struct{ block []byte }

func newBody() *body {
	b := &body{make([]byte, 1<<20+4093)} // no multiple of a block or segment
	crand.Read(b.block)
	return b
}

// ReadAt fills p; there is no end.
func (b *body) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, b.block[off%int64(len(b.block)):])
	for n < len(p) {
		n += copy(p[n:], b.block)
	}
	return n, nil
}
