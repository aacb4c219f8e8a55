package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

// TestKillWhileUnitsChange is TestKill while an administrator makes and
// unmakes erasure units, forgets some, rotates and retires the keys under
// them, and a client moves files into units and out of them.
// EFS_CRASH_ROUNDS sets the number of rounds.
func TestKillWhileUnitsChange(t *testing.T) {
	rounds := roundsOr(t, 8)
	s := kit.New(t)
	l := &kit.Ledger{}
	var version, confirmed atomic.Uint64
	m := &unitMeddler{meddler: meddler{s: s, epoch: 1}, dir: t.TempDir()}
	c := s.Client()
	for i, places := range moved {
		if _, err := c.Put(t.Context(), places[0], bytes.NewReader(kit.Pattern(uint64(i), 10+i*30_000)), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { m.meddle(ctx) })
		wg.Go(func() { m.move(ctx) })
		work(t, s, l, &version, &confirmed, time.Duration(200+rand.IntN(1200))*time.Millisecond)
		cancel()
		wg.Wait()
		s.Start()
		endRound(t, s, l, round, m.verify)
	}
	m.finish(t)
	verify(t, s, l)
	m.verify(t)
	if out, err := s.TryCtl("fsck", kit.FS, "--deep"); err != nil {
		t.Errorf("deep fsck at the end: %v\n%s", err, out)
	}
	t.Logf("%d rounds, %d operations confirmed, %d moves, %d changes, %d units forgotten, epochs up to %d retired",
		rounds, confirmed.Load(), m.moves, m.changes, len(m.gone), m.epoch-1)
}

// unitMeddler is an administrator who changes what units there are.
type unitMeddler struct {
	meddler
	dir   string
	files int             // backups of keys
	next  int             // unit that is forgotten next
	gone  map[string]bool // whether the forgetting was confirmed
	moves int
}

// meddle changes one thing after the other until ctx ends.
func (m *unitMeddler) meddle(ctx context.Context) {
	c, err := m.s.TryClient()
	if err != nil {
		return
	}
	defer c.Close()
	for ctx.Err() == nil {
		var err error
		switch rand.IntN(8) {
		case 0:
			pattern := []string{"/*/*", "/gone/*", "/moved/*"}[rand.IntN(3)]
			_, err = m.s.TryCtl("policy", kit.FS, "--set", "erasure_unit="+pattern)
		case 1:
			stages := []string{"AES256:local/default", "CHACHA20_POLY1305:local/default,AES256:local/default"}[rand.IntN(2)]
			_, err = m.s.TryCtl("policy", kit.FS, "--set", "stages="+stages)
		case 2:
			_, err = m.s.TryCtl("rotate-kms", "default")
		case 3:
			m.files++
			_, err = m.s.TryCtl("backup-keys", filepath.Join(m.dir, fmt.Sprint(m.files)))
		case 4:
			err = m.retire()
		default:
			err = m.forget(ctx, c)
		}
		if err == nil {
			m.changes++
		}
	}
}

// forget stores something and forgets it.
func (m *unitMeddler) forget(ctx context.Context, c *client.Client) error {
	if m.gone == nil {
		m.gone = map[string]bool{}
	}
	m.next++
	path := fmt.Sprintf("/gone/%d", m.next)
	for i := range 3 {
		file := fmt.Sprintf("%s/d/f%d", path, i)
		if _, err := c.Put(ctx, file, bytes.NewReader(kit.Pattern(uint64(i), 100+i*20_000)), client.PutOptions{}); err != nil {
			return err
		}
	}
	_, err := m.s.TryCtl("forget", kit.FS+":"+path, "--yes")
	if err == nil {
		m.gone[path] = true
	}
	return err
}

// move moves files into a unit and out of it.
func (m *unitMeddler) move(ctx context.Context) {
	c, err := m.s.TryClient()
	if err != nil {
		return
	}
	defer c.Close()
	for i := 0; ctx.Err() == nil; i = (i + 1) % len(moved) {
		places := moved[i]
		for n := range 2 {
			if err := c.Move(ctx, places[n], places[1-n], client.MoveOptions{}); err == nil {
				m.moves++
			}
		}
	}
}

// moved are the two paths of each file that is moved.
var moved = [][2]string{{"/plain/0", "/moved/a/0"}, {"/plain/1", "/moved/a/1"}, {"/moved/b/2", "/moved/a/2"}, {"/plain/3", "/moved/c/d/3"}}

// verify looks at what was moved and what was forgotten.
func (m *unitMeddler) verify(t *testing.T) {
	t.Helper()
	c, err := m.s.TryClient()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, places := range moved {
		found := 0
		for _, path := range places {
			b, err := c.ReadFile(t.Context(), path)
			if errors.Is(err, client.ErrNotFound) {
				continue
			}
			if err != nil || !bytes.Equal(b, kit.Pattern(uint64(i), 10+i*30_000)) {
				t.Errorf("%s: %d bytes, %v", path, len(b), err)
			}
			found++
		}
		if found != 1 {
			t.Errorf("what was moved is at %d of %v", found, places)
		}
	}
	for path := range m.gone {
		if _, err := c.Stat(t.Context(), path); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("%s was forgotten: %v", path, err)
		}
	}
	out, err := m.s.TryCtl("receipts", kit.FS, "--json")
	if n := strings.Count(out, `"signature"`); err != nil || n < len(m.gone) {
		t.Errorf("%d receipts of %d forgettings: %v\n%.500s", n, len(m.gone), err, out)
	}
}
