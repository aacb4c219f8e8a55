package disaster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

// made is what efsctl backup --json tells.
type made struct {
	Backup   string
	Sequence uint64
	Files    int64
}

func backUp(t *testing.T, s *kit.Server, dir string) (m made) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.Ctl("backup", kit.FS, dir, "--json")), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// restore loses the volume of the file system and brings it back.
func restore(t *testing.T, s *kit.Server, dir, which string) {
	t.Helper()
	s.Kill()
	if err := os.RemoveAll(filepath.Join(s.Root, kit.FS)); err != nil {
		t.Fatal(err)
	}
	s.Start()
	s.Ctl("restore", dir, "--backup", which, "--verify")
}

// tree is path → ETag of all files.
func tree(t *testing.T, s *kit.Server) map[string]string {
	t.Helper()
	all := map[string]string{}
	for e, err := range s.Client().List(t.Context(), "/", client.ListOptions{Recursive: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "file" {
			all[e.Path] = e.ETag
		}
	}
	return all
}

// TestBackupsUnderWriters backs up while 16 clients store, rename and delete,
// restores each backup and compares it with what the change log says was there
// at its sequence number.
func TestBackupsUnderWriters(t *testing.T) {
	s := kit.New(t)
	dir := filepath.Join(t.TempDir(), "backups")
	c := s.Client()
	var stop atomic.Bool
	var done atomic.Int64
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			for i := 0; !stop.Load(); i++ {
				if err := change(t.Context(), c, w, i); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				done.Add(1)
			}
		})
	}
	var all []made
	for range 3 {
		for at := done.Load(); done.Load() < at+300 && !t.Failed(); {
			time.Sleep(5 * time.Millisecond) // until there is something new
		}
		all = append(all, backUp(t, s, dir))
	}
	stop.Store(true)
	writers.Wait()
	states := replay(t, c, all)
	for i, m := range all {
		restore(t, s, dir, m.Backup)
		if got := tree(t, s); !maps.Equal(got, states[i]) {
			t.Errorf("backup %s: %d files came back, there were %d at change %d", m.Backup, len(got), len(states[i]), m.Sequence)
		}
		if int64(len(states[i])) != m.Files {
			t.Errorf("backup %s says %d files, there were %d", m.Backup, m.Files, len(states[i]))
		}
	}
	s.Ctl("fsck", kit.FS, "--deep")
	t.Logf("%d changes by clients, backups as of %v", done.Load(), all)
}

func change(ctx context.Context, c *client.Client, w, i int) (err error) {
	path := fmt.Sprintf("/dir-%d/%d", w%5, rand.IntN(60))
	switch rand.IntN(6) {
	case 0:
		err = c.Remove(ctx, path, client.RemoveOptions{})
	case 1:
		err = c.Move(ctx, path, fmt.Sprintf("/moved-%d/%d", w%3, rand.IntN(60)), client.MoveOptions{})
	case 2:
		_, err = c.Put(ctx, path, bytes.NewReader(kit.Pattern(uint64(w*1000+i), 60_000)), client.PutOptions{})
	default:
		_, err = c.Put(ctx, path, bytes.NewReader(kit.Pattern(uint64(w*1000+i), 900)), client.PutOptions{})
	}
	if errors.Is(err, client.ErrNotFound) {
		err = nil
	}
	return err
}

// replay returns the files that there were at each backup's change.
func replay(t *testing.T, c *client.Client, all []made) (states []map[string]string) {
	t.Helper()
	state := map[string]string{}
	for ch, err := range c.Changes(t.Context(), client.ChangesOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		for len(states) < len(all) && ch.Seq > all[len(states)].Sequence {
			states = append(states, maps.Clone(state))
		}
		if ch.Kind == "directory" || ch.Path == "" {
			continue
		}
		switch ch.Op {
		case "create", "replace":
			state[ch.Path] = ch.ETag
		case "delete":
			delete(state, ch.Path)
		case "move":
			state[ch.Path] = state[ch.From]
			delete(state, ch.From)
		}
	}
	for len(states) < len(all) {
		states = append(states, maps.Clone(state))
	}
	return states
}

// TestBackupsKilled kills the server at random moments of backups. Each time,
// what is listed can be restored, and in the end a whole one is made and is all
// there.
func TestBackupsKilled(t *testing.T) {
	s := kit.New(t)
	dir := filepath.Join(t.TempDir(), "backups")
	c := s.Client()
	want, cut := 0, 0
	for round := range 8 {
		for i := range 12 {
			path := fmt.Sprintf("/round-%d/%d", round, i)
			if _, err := c.Put(t.Context(), path, bytes.NewReader(kit.Pattern(uint64(want), 700_000)), client.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			want++
		}
		ended := make(chan error, 1)
		go func() { _, err := s.TryCtl("backup", kit.FS, dir, "--keep", "2"); ended <- err }()
		time.Sleep(time.Duration(rand.IntN(20+80*round)) * time.Millisecond)
		s.Kill()
		if <-ended != nil {
			cut++
		}
		s.Start()
		c = s.Client()
		if _, err := os.Stat(filepath.Join(dir, "efs-backup.json")); err == nil {
			checkListed(t, s, dir)
		}
	}
	m := backUp(t, s, dir)
	restore(t, s, dir, m.Backup)
	if got := tree(t, s); len(got) != want {
		t.Errorf("%d files came back of %d", len(got), want)
	}
	s.Ctl("backup", kit.FS, dir, "--keep", "1")
	if leftover := parts(t, dir); leftover != "" {
		t.Errorf("left in the directory of backups:\n%s", leftover)
	}
	if cut == 0 {
		t.Error("no backup was cut off: the test did not test it")
	}
	t.Logf("%d of 8 backups were cut off", cut)
}

// checkListed has a drill read the newest backup that is listed.
func checkListed(t *testing.T, s *kit.Server, dir string) {
	t.Helper()
	var all []made
	if err := json.Unmarshal([]byte(s.Ctl("backup", "--list", dir, "--json")), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) > 0 {
		s.Ctl("drill", kit.FS, "--backup", dir)
	}
}

// parts names what is unfinished below a directory.
func parts(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-name", "*.part", "-o", "-name", "*.tmp*").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestRestoreKilled kills the server at random moments of a restore: the next
// start removes what there is, and the restore can be made again.
func TestRestoreKilled(t *testing.T) {
	s := kit.New(t)
	dir := filepath.Join(t.TempDir(), "backups")
	c := s.Client()
	for i := range 30 {
		if _, err := c.Put(t.Context(), fmt.Sprintf("/f/%d", i), bytes.NewReader(kit.Pattern(uint64(i), 900_000)), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	m := backUp(t, s, dir)
	before := tree(t, s)
	cut := 0
	for round := range 6 {
		s.Kill()
		if err := os.RemoveAll(filepath.Join(s.Root, kit.FS)); err != nil {
			t.Fatal(err)
		}
		s.Start()
		ended := make(chan error, 1)
		go func() { _, err := s.TryCtl("restore", dir); ended <- err }()
		time.Sleep(time.Duration(rand.IntN(20+80*round)) * time.Millisecond)
		s.Kill()
		if <-ended != nil {
			cut++
		}
		s.Start()
		if _, err := s.TryCtl("fsck", kit.FS); err == nil {
			if got := tree(t, s); !maps.Equal(got, before) {
				t.Errorf("a restore that was killed is in service with %d files of %d", len(got), len(before))
			}
		} else if _, err := os.Stat(filepath.Join(s.Root, kit.FS)); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("a restore that was killed has left something: %v", err)
		}
	}
	restore(t, s, dir, m.Backup)
	if got := tree(t, s); !maps.Equal(got, before) {
		t.Errorf("%d files came back of %d", len(got), len(before))
	}
	if cut == 0 {
		t.Error("no restore was cut off: the test did not test it")
	}
	t.Logf("%d of 6 restores were cut off", cut)
}
