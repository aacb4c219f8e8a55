package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

const partSize = 64 << 10

// sending is a file that is uploaded, with what is known of how far that is.
type sending struct {
	path string
	body []byte
	id   string // of the upload; "": not begun

	started int64 // number of the part that was begun last: those before it were confirmed
	skipped int64 // parts that the server had when the upload was gone on with
}

// ReadAt tells by a read of one byte, its last, that a part is about to be
// sent.
func (f *sending) ReadAt(b []byte, off int64) (int, error) {
	if len(b) == 1 {
		f.started = max(f.started, off/partSize)
	}
	return bytes.NewReader(f.body).ReadAt(b, off)
}

func (f *sending) upload(ctx context.Context, c *client.Client) error {
	f.skipped = 0
	_, err := c.Upload(ctx, f.path, f, int64(len(f.body)), client.UploadOptions{
		PartSize: partSize, Resume: f.id, Started: func(id string) {
			if id != f.id {
				f.started = 0
			}
			f.id = id
		},
		PutOptions: client.PutOptions{Progress: func(n int64) {
			if n == partSize { // what is sent is read in smaller pieces
				f.skipped++
			}
		}},
	})
	return err
}

// TestKillUploads kills the server while files are uploaded in parts. Each part
// that was confirmed is there afterwards and is not sent again; each file is whole,
// or is not there; and no blob is left that belongs to nothing.
func TestKillUploads(t *testing.T) {
	s := kit.New(t)
	var mu sync.Mutex
	whole := map[string][]byte{} // files that were confirmed
	var files [8]*sending        // under way
	var made, resumed, done atomic.Int64
	for round := range roundsOr(t, 6) {
		ctx, cancel := context.WithCancel(t.Context())
		c, err := s.TryClient()
		if err != nil {
			t.Fatal(err)
		}
		var dead atomic.Bool
		var wg sync.WaitGroup
		for n := range files {
			wg.Go(func() {
				for !dead.Load() {
					f, before := files[n], int64(0)
					if f == nil {
						f = &sending{path: fmt.Sprintf("/scans/%d/%d", n, made.Add(1)), body: make([]byte, partSize*(2+rand.IntN(6))+rand.IntN(partSize))}
						fill(f.body)
						files[n] = f
					} else if before = f.started; before > 0 {
						resumed.Add(1)
					}
					err := f.upload(ctx, c)
					if err != nil {
						if !dead.Load() {
							t.Errorf("%s: %v", f.path, err)
						}
						return
					}
					if f.skipped < before && f.started != 0 {
						t.Errorf("%s: %d parts were confirmed before the kill, %d were there after it", f.path, before, f.skipped)
					}
					mu.Lock()
					whole[f.path] = f.body
					mu.Unlock()
					files[n] = nil
					done.Add(1)
				}
			})
		}
		time.Sleep(time.Duration(100+rand.IntN(500)) * time.Millisecond)
		dead.Store(true)
		s.Kill()
		cancel()
		wg.Wait()
		c.Close()
		s.Start()
		check(t, s, whole, files[:])
		if out, err := s.TryCtl("fsck", kit.FS, "--deep"); err != nil || t.Failed() {
			t.Fatalf("round %d: fsck: %v\n%s\n%s", round, err, out, s.Log())
		}
	}
	if resumed.Load() == 0 || done.Load() == 0 {
		t.Errorf("%d uploads were resumed, %d completed: the test shows nothing", resumed.Load(), done.Load())
	}
	t.Logf("%d files, %d completed, %d gone on with after a kill", made.Load(), done.Load(), resumed.Load())
}

// check reads the files that were confirmed, and those that may be there.
func check(t *testing.T, s *kit.Server, whole map[string][]byte, open []*sending) {
	t.Helper()
	c := s.Client()
	for path, body := range whole {
		if got, err := c.ReadFile(t.Context(), path); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s was confirmed, and has %d bytes, %v", path, len(got), err)
		}
	}
	for n, f := range open {
		if f == nil {
			continue
		}
		got, err := c.ReadFile(t.Context(), f.path)
		switch {
		case errors.Is(err, client.ErrNotFound):
		case err != nil || !bytes.Equal(got, f.body):
			t.Errorf("%s was not confirmed, and has %d bytes of %d, %v", f.path, len(got), len(f.body), err)
		default: // completed, and the answer was lost
			whole[f.path] = f.body
			open[n] = nil
		}
	}
}

func fill(b []byte) {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	_, _ = rand.NewChaCha8(seed).Read(b)
}
