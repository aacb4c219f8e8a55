package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/test/kit"
)

// TestEveryCommittedChangeIsInTheAuditLog kills the server under load, again
// and again. Each change that the index has, confirmed or not, has exactly one
// line, each line is of such a change, and the log verifies, with the server
// running and without it.
func TestEveryCommittedChangeIsInTheAuditLog(t *testing.T) {
	const rounds = 5
	s := kit.New(t)
	var asked, confirmed atomic.Int64
	recovered := 0
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
		committed, lines := changes(t, s), stores(t, s)
		if n := int64(len(committed)); n < confirmed.Load() || n > asked.Load() {
			t.Fatalf("%d stores committed, %d were confirmed, %d asked for", n, confirmed.Load(), asked.Load())
		}
		late := 0
		for seq := range committed {
			if len(lines[seq]) != 1 {
				t.Fatalf("%d lines of change %d: %+v", len(lines[seq]), seq, lines[seq])
			}
			if lines[seq][0].Late {
				late++
			}
		}
		if len(lines) != len(committed) {
			t.Fatalf("lines of %d changes, %d were committed", len(lines), len(committed))
		}
		recovered = late
	}
	if recovered == 0 {
		t.Error("no line was ever missing when the server was killed: the test shows nothing")
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

// changes returns the numbers of the stores that the index has.
func changes(t *testing.T, s *kit.Server) map[uint64]bool {
	t.Helper()
	c := s.Client()
	found := map[uint64]bool{}
	for ch, err := range c.Changes(t.Context(), client.ChangesOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if ch.Kind == "file" {
			found[ch.Seq] = true
		}
	}
	return found
}

// stores returns the lines of stores by the change that they are of.
func stores(t *testing.T, s *kit.Server) map[uint64][]audit.Line {
	t.Helper()
	lines := map[uint64][]audit.Line{}
	for text := range strings.Lines(s.Ctl("audit", "show", "--op", "file.store", "--outcome", "ok", "--json")) {
		var l audit.Line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		lines[l.Change] = append(lines[l.Change], l)
	}
	return lines
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
