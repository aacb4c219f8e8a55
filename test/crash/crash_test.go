// Package crash kills the real server at random moments and checks that it
// has lost nothing that it confirmed.
package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

const clients = 16

// roundsOr returns how many rounds EFS_CRASH_ROUNDS asks for, otherwise n.
func roundsOr(t *testing.T, n int) int {
	t.Helper()
	s := os.Getenv("EFS_CRASH_ROUNDS")
	if s == "" {
		return n
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("EFS_CRASH_ROUNDS: %v", err)
	}
	return n
}

// TestKill stores, replaces and deletes with 16 clients, kills the server
// with SIGKILL at a random moment, starts it again and checks every path and
// fsck, round after round on the same root. EFS_CRASH_ROUNDS sets the number.
func TestKill(t *testing.T) {
	rounds := roundsOr(t, 50)
	s := kit.New(t)
	l := &kit.Ledger{}
	var version, confirmed atomic.Uint64
	for round := range rounds {
		work(t, s, l, &version, &confirmed, time.Duration(50+rand.IntN(700))*time.Millisecond)
		s.Start()
		endRound(t, s, l, round)
	}
	if out, err := s.TryCtl("fsck", kit.FS, "--deep"); err != nil {
		t.Errorf("deep fsck at the end: %v\n%s", err, out)
	}
	if confirmed.Load() < uint64(rounds)*clients {
		t.Errorf("only %d operations were confirmed in %d rounds: the test did not load the server", confirmed.Load(), rounds)
	}
	t.Logf("%d rounds, %d operations confirmed, %d paths", rounds, confirmed.Load(), len(l.Paths()))
}

// endRound checks a server that was started again after it was killed.
func endRound(t *testing.T, s *kit.Server, l *kit.Ledger, round int, more ...func(*testing.T)) {
	t.Helper()
	verify(t, s, l)
	for _, check := range more {
		check(t)
	}
	if out, err := s.TryCtl("fsck", kit.FS); err != nil {
		t.Fatalf("round %d: fsck: %v\n%s", round, err, out)
	}
	if t.Failed() {
		t.Fatalf("round %d failed\n%s", round, s.Log())
	}
}

// work loads the server for d and kills it under the load.
func work(t *testing.T, s *kit.Server, l *kit.Ledger, version, confirmed *atomic.Uint64, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := s.TryClient()
	if err != nil {
		t.Fatalf("dialling: %v", err)
	}
	defer c.Close()
	var dead atomic.Bool
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			for i := 0; !dead.Load(); i++ {
				path := fmt.Sprintf("/ward-%d/patient-%d/report-%d.pdf", n%4, n, rand.IntN(12))
				v := kit.State(version.Add(1))
				var err error
				if rand.IntN(6) == 0 {
					l.Ask(path, 0)
					if err = c.Remove(ctx, path, client.RemoveOptions{}); errors.Is(err, client.ErrNotFound) {
						err = nil
					}
				} else {
					l.Ask(path, v)
					_, err = c.Put(ctx, path, bytes.NewReader(kit.Body(path, v)), client.PutOptions{})
				}
				if err != nil {
					if !dead.Load() {
						t.Errorf("%s: %v", path, err)
					}
					return
				}
				l.Confirm(path)
				confirmed.Add(1)
			}
		})
	}
	time.Sleep(d)
	dead.Store(true)
	s.Kill()
	cancel()
	wg.Wait()
}

// verify reads every path that was ever asked for.
func verify(t *testing.T, s *kit.Server, l *kit.Ledger) {
	t.Helper()
	c, err := s.TryClient()
	if err != nil {
		t.Fatalf("dialling after the restart: %v\n%s", err, s.Log())
	}
	defer c.Close()
	paths := make(chan string)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for path := range paths {
				if err := l.Check(t.Context(), c, path); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, path := range l.Paths() {
		paths <- path
	}
	close(paths)
	wg.Wait()
}
