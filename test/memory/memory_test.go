// Package memory watches how much memory the server takes under load.
package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// bound is what the server may take, whatever is uploaded.
const bound = 160 << 20

// soak is set for sizes that take minutes and some 30 GiB of disk.
var soak = os.Getenv("EFS_MEMORY_SOAK") != ""

// TestUploads sends 16 large uploads of unknown length at once, reads them
// back at once, and stores small files beside them.
func TestUploads(t *testing.T) {
	s := kit.NewShipped(t)
	c := s.Client()
	idle := anonymous(t, s.PID())
	stop := watch(t, s.PID())
	ctx := t.Context()
	const uploads = 16
	size := int64(96 << 20)
	if soak {
		size = 1 << 30
	}
	each(uploads, func(i int) error {
		_, err := c.Put(ctx, fmt.Sprintf("/large/%d", i), io.LimitReader(zeros{}, size), client.PutOptions{})
		return err
	}, t)
	each(uploads, func(i int) error { return readAll(ctx, c, fmt.Sprintf("/large/%d", i), size) }, t)
	small := kit.Pattern(1, 10_000)
	each(uploads, func(i int) error {
		for k := range 100 {
			if _, err := c.Put(ctx, fmt.Sprintf("/small/%d/%d", i, k), bytes.NewReader(small), client.PutOptions{}); err != nil {
				return err
			}
		}
		return nil
	}, t)
	peak := stop()
	t.Logf("anonymous memory: %d MiB idle, %d MiB at the peak", idle>>20, peak>>20)
	if peak > bound {
		t.Errorf("%d MiB at the peak, %d MiB allowed", peak>>20, bound>>20)
	}
	if peak <= idle || idle == 0 {
		t.Errorf("%d bytes idle, %d at the peak: nothing was measured", idle, peak)
	}
}

// TestSizeCostsNoMemory stores and reads a file, and one a hundred times (ten
// times without soak) as long, which must not take more memory.
func TestSizeCostsNoMemory(t *testing.T) {
	s := kit.NewShipped(t)
	c := s.Client()
	ctx := t.Context()
	peakOf := func(path string, size int64) int64 {
		stop := watch(t, s.PID())
		if _, err := c.Put(ctx, path, io.LimitReader(zeros{}, size), client.PutOptions{}); err != nil {
			t.Error(err)
		}
		if err := readAll(ctx, c, path, size); err != nil {
			t.Error(err)
		}
		if err := c.Remove(ctx, path, client.RemoveOptions{}); err != nil {
			t.Error(err)
		}
		return stop()
	}
	short, long := int64(100<<20), int64(1<<30)
	if soak {
		long = 10 << 30
	}
	less, more := peakOf("/short", short), peakOf("/long", long)
	t.Logf("anonymous memory at the peak: %d MiB for %d MiB, %d MiB for %d MiB", less>>20, short>>20, more>>20, long>>20)
	// What the collector has not yet taken back differs from moment to moment.
	const slack = 32 << 20
	if more > less+slack {
		t.Errorf("%d MiB for the long file, %d MiB for the short one", more>>20, less>>20)
	}
}

func each(n int, do func(i int) error, t *testing.T) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := do(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func readAll(ctx context.Context, c *client.Client, path string, size int64) error {
	r, err := c.Get(ctx, path)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if err == nil && n != size {
		err = fmt.Errorf("%s: %d of %d bytes", path, n, size)
	}
	return err
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// watch returns a function that ends the watching and tells the largest size
// seen.
func watch(t *testing.T, pid int) (stop func() int64) {
	done, peak := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		for {
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(20 * time.Millisecond):
				most = max(most, anonymous(t, pid))
			}
		}
	}()
	return func() int64 { close(done); return <-peak }
}

// anonymous is the resident memory that the kernel cannot take back, in bytes:
// what is mapped from files, as the index is, does not count.
func anonymous(t *testing.T, pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0 // it has ended
	}
	if err != nil {
		t.Error(err)
		return 0
	}
	var kb int64
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			if _, err := fmt.Sscan(rest, &kb); err != nil {
				t.Error(err)
			}
		}
	}
	return kb << 10
}
