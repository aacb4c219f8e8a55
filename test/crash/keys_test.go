package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs/test/kit"
)

// TestKillWhileKeysChange is TestKill while an administrator sets policies of
// one and two stages, bounds users, and retires one epoch after the other.
// EFS_CRASH_ROUNDS sets the number of rounds.
func TestKillWhileKeysChange(t *testing.T) {
	rounds := roundsOr(t, 10)
	s := kit.New(t)
	l := &kit.Ledger{}
	var version, confirmed atomic.Uint64
	m := &meddler{s: s, epoch: 1}
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { m.meddle(ctx) })
		work(t, s, l, &version, &confirmed, time.Duration(200+rand.IntN(800))*time.Millisecond)
		cancel()
		wg.Wait()
		s.Start()
		endRound(t, s, l, round)
	}
	m.finish(t)
	verify(t, s, l)
	if out, err := s.TryCtl("fsck", kit.FS, "--deep"); err != nil {
		t.Errorf("deep fsck at the end: %v\n%s", err, out)
	}
	t.Logf("%d rounds, %d operations confirmed, %d changes, epochs up to %d retired", rounds, confirmed.Load(), m.changes, m.epoch-1)
}

// meddler is an administrator who changes what can be changed.
type meddler struct {
	s       *kit.Server
	epoch   int // that is retired next
	changes int
}

// meddle changes one thing after the other until ctx ends. What fails because
// the server was killed is begun again, or finished by it, later.
func (m *meddler) meddle(ctx context.Context) {
	for ctx.Err() == nil {
		var err error
		switch rand.IntN(4) {
		case 0:
			stages := []string{"AES256:local/default", "CHACHA20_POLY1305:local/default,AES256:local/default"}[rand.IntN(2)]
			_, err = m.s.TryCtl("policy", kit.FS, "--set", "stages="+stages, "--set", "inline_limit="+fmt.Sprint(1024*rand.IntN(20)))
		case 1:
			_, err = m.s.TryCtl("quota", kit.FS, "--user", kit.User, "--max-files", fmt.Sprint(rand.IntN(2)*100_000))
		default:
			err = m.retire()
		}
		if err == nil {
			m.changes++
		}
	}
}

// retire begins to retire the next epoch.
func (m *meddler) retire(flags ...string) error {
	out, err := m.s.TryCtl(append([]string{"retire-epoch", kit.FS, fmt.Sprint(m.epoch)}, flags...)...)
	if err == nil || strings.Contains(out, "already") || strings.Contains(out, "not found: epoch") {
		m.epoch++
	}
	return err
}

// finish retires what epochs there are, and demands that it succeed.
func (m *meddler) finish(t *testing.T) {
	t.Helper()
	for {
		out, err := m.s.TryCtl("jobs", kit.FS, "--json")
		if err != nil {
			t.Fatalf("jobs: %v\n%s", err, out)
		}
		if strings.Contains(out, `"state": "failed"`) || strings.Contains(out, `"state": "canceled"`) {
			t.Fatalf("a job failed:\n%s", out)
		}
		if !strings.Contains(out, `"state": "queued"`) && !strings.Contains(out, `"state": "running"`) && !strings.Contains(out, `"state": "waiting"`) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := m.retire("--wait", "--rate", "0"); err != nil {
		t.Errorf("retiring epoch %d at the end: %v", m.epoch, err)
	}
	m.changes++
}
