package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/test/kit"
)

// TestEveryConfirmedChangeIsInTheAuditLog kills the server under load, again
// and again. Each store that was confirmed has its line, each line is of a
// store that was asked for, and the log verifies, with the server running and
// without it.
func TestEveryConfirmedChangeIsInTheAuditLog(t *testing.T) {
	const rounds = 8
	s := kit.New(t)
	var asked, confirmed atomic.Int64
	for range rounds {
		store(t, s, &asked, &confirmed, time.Duration(50+rand.IntN(500))*time.Millisecond)
		offline := report(t, s, "--starter-key-file", s.KeyFile)
		s.Start()
		online := report(t, s)
		if offline.Bad != nil && len(online.Torn) == 0 || online.Bad != nil {
			t.Fatalf("%+v, %+v\n%s", offline.Bad, online.Bad, s.Log())
		}
		if !online.MACs || online.Lines < offline.Lines {
			t.Fatalf("%+v after %+v", online, offline)
		}
		stored := int64(bytes.Count([]byte(s.Ctl("audit", "show", "--op", "file.store", "--outcome", "ok", "--json")), []byte("\n")))
		if stored < confirmed.Load() || stored > asked.Load() {
			t.Fatalf("%d stores in the log, %d were confirmed, %d asked for", stored, confirmed.Load(), asked.Load())
		}
	}
	if confirmed.Load() < rounds*clients {
		t.Errorf("only %d stores were confirmed: the test did not load the server", confirmed.Load())
	}
	t.Logf("%d stores asked for, %d confirmed", asked.Load(), confirmed.Load())
}

// store stores with many clients for d, then kills the server.
func store(t *testing.T, s *kit.Server, asked, confirmed *atomic.Int64, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := s.TryClient()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var dead atomic.Bool
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for !dead.Load() {
				path := fmt.Sprintf("/ward/%d", asked.Add(1))
				if _, err := c.Put(ctx, path, bytes.NewReader([]byte(path)), client.PutOptions{}); err == nil {
					confirmed.Add(1)
				} else if !dead.Load() {
					t.Errorf("%s: %v", path, err)
				}
			}
		})
	}
	time.Sleep(d)
	dead.Store(true)
	s.Kill()
	cancel()
	wg.Wait()
}

// report verifies the log.
func report(t *testing.T, s *kit.Server, args ...string) (r audit.Report) {
	t.Helper()
	out, err := s.TryCtl(append([]string{"audit", "verify", "--json"}, args...)...)
	if uerr := json.Unmarshal([]byte(out), &r); uerr != nil {
		t.Fatalf("verify: %v\n%s", err, out)
	}
	return r
}
