package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// Mixed is one round of small stores beside large uploads.
type Mixed struct {
	Size    int64         `json:"upload_bytes"` // of each of the uploads
	Uploads time.Duration `json:"uploads_alone_ns"`
	Beside  time.Duration `json:"uploads_with_stores_ns"`
	Alone   Result        `json:"stores_alone"`
	With    Result        `json:"stores_with_uploads"`
}

// Slower is how many times longer the slowest hundredth of the stores takes
// beside the uploads; Keeps is the share of their rate that the uploads keep.
func (m Mixed) Slower() float64 { return float64(m.With.P99) / float64(m.Alone.P99) }

// Keeps: see Slower.
func (m Mixed) Keeps() float64 { return float64(m.Uploads) / float64(m.Beside) }

const uploads = 4

// mixed measures the uploads alone, the stores alone, and both at once, until
// the last upload is confirmed, its final sync included.
func mixed(ctx context.Context, t Target, size int64, alone time.Duration, seq *atomic.Int64) (Mixed, error) {
	big := Work{Name: "mixed-large", Method: http.MethodPut, Size: size, Clients: uploads}
	small := Work{Name: "mixed-small", Method: http.MethodPut, Size: 4 << 10, Clients: 16}
	m := Mixed{Size: size}
	var err error
	drain()
	var clean func() error
	if m.Uploads, clean, err = upload(ctx, t, big, seq); err != nil {
		return m, err
	}
	if err := clean(); err != nil {
		return m, err
	}
	drain()
	if m.Alone, err = load(ctx, t, small, alone, seq); err != nil {
		return m, err
	}
	drain()
	done, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(done)
		var err error
		m.Beside, clean, err = upload(ctx, t, big, seq)
		failed <- err
	}()
	m.With, err = loadUntil(ctx, t, small, uploadLimit, seq, done)
	if e := <-failed; e != nil {
		return m, e
	}
	if err != nil {
		return m, err
	}
	return m, clean()
}

// uploadLimit is how long uploads may take.
const uploadLimit = 10 * time.Minute

// upload stores as many objects of w as it has clients, all at once. It returns
// how long it took until the last was confirmed, and what removes them.
func upload(ctx context.Context, t Target, w Work, seq *atomic.Int64) (took time.Duration, clean func() error, err error) {
	last := seq.Add(int64(w.Clients))
	first := last - int64(w.Clients) + 1
	errs := make(chan error, w.Clients)
	took, err = clients(ctx, t, w.Clients, uploadLimit, func(i int, c *conn) { errs <- c.do(w.store(first + int64(i))) })
	if err != nil {
		return 0, nil, err
	}
	for range w.Clients {
		if err := <-errs; err != nil {
			return 0, nil, err
		}
	}
	return took, func() error { return remove(ctx, t, w, first, last) }, nil
}

func (m Mixed) String() string {
	rate := func(d time.Duration) float64 { return uploads * float64(m.Size) / 1e6 / d.Seconds() }
	return fmt.Sprintf("p99 alone %s, with uploads %s (%.1f times); uploads alone %.0f MB/s, with stores %.0f MB/s (%.2f of it)",
		short(m.Alone.P99), short(m.With.P99), m.Slower(), rate(m.Uploads), rate(m.Beside), m.Keeps())
}
