package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/test/kit"
)

// TestIndexDeleted kills the server under load and deletes the index with its
// log. The server says what to do; the index made anew has every store that was
// confirmed up to the change that it names, and what was stored later in blobs is
// below /recovered.
func TestIndexDeleted(t *testing.T) {
	s := kit.New(t)
	for round := range roundsOr(t, 3) {
		early := &kit.Ledger{}
		var version, confirmed atomic.Uint64
		version.Store(uint64(round) << 32)
		settle(t, s, early, &version)
		l := &kit.Ledger{}
		ordered := storeInOrder(t, s, round)
		work(t, s, l, &version, &confirmed, time.Duration(500+round*400)*time.Millisecond)
		stored := <-ordered
		if confirmed.Load() == 0 {
			t.Fatal("nothing was confirmed: the test did not load the server")
		}
		deleteIndex(t, s)
		s.Start()
		if out, err := s.TryCtl("status"); err != nil || !strings.Contains(out, "efsctl rebuild-index "+kit.FS) {
			t.Fatalf("status does not say what to do: %v\n%s", err, out)
		}
		out := s.Ctl("rebuild-index", kit.FS, "--json")
		var done node.RebuildResult
		if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &done); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("round %d: %d operations were confirmed before the kill; the journal led to change %d, the anchor knew %d; recovered %d, gone %d, superseded %d",
			round, confirmed.Load(), done.Sequence, done.Known, done.RecoveredFiles, done.GoneFiles, done.Superseded)
		if len(done.Unopened) > 0 || done.GoesOn < max(done.Sequence, done.Known) {
			t.Errorf("%+v", done)
		}
		verify(t, s, early) // what was there for seconds is there
		checkRecovered(t, s, l, &done)
		checkOrder(t, s, round, stored, &done)
		if out, err := s.TryCtl("fsck", kit.FS, "--deep"); err != nil {
			t.Fatalf("round %d: fsck: %v\n%s", round, err, out)
		}
		if t.Failed() {
			t.Fatalf("round %d failed\n%s", round, s.Log())
		}
	}
}

// settle stores files and waits until the journal has them.
func settle(t *testing.T, s *kit.Server, l *kit.Ledger, version *atomic.Uint64) {
	t.Helper()
	c := s.Client()
	for _, path := range []string{"/settled/small", "/settled/dir/report-1.pdf", "/settled/dir/report-2.pdf"} {
		v := kit.State(version.Add(1))
		l.Ask(path, v)
		if _, err := c.Put(t.Context(), path, strings.NewReader(string(kit.Body(path, v))), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		l.Confirm(path)
	}
	var st node.Status
	for {
		if err := json.Unmarshal([]byte(s.Ctl("status", "--json")), &st); err != nil {
			t.Fatal(err)
		}
		if f := st.FileSystems[0]; f.Journal != nil && f.Journal.State == "current" && f.Journal.Seq >= f.Seq {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// storedBy says that so many files had been stored when the index stood at a
// change.
type storedBy struct {
	files int
	seq   uint64
}

// storeInOrder stores one small file after the other until the server dies, and
// sends what it knows of when.
func storeInOrder(t *testing.T, s *kit.Server, round int) <-chan []storedBy {
	out := make(chan []storedBy, 1)
	c := s.Client()
	go func() {
		var known []storedBy
		defer func() { out <- known }()
		for n := 0; ; n++ {
			if _, err := c.Put(context.Background(), orderedPath(round, n), strings.NewReader(fmt.Sprint(n)), client.PutOptions{}); err != nil {
				return
			}
			if n%20 != 0 {
				continue
			}
			var st node.Status
			text, err := s.TryCtl("status", "--json")
			if err != nil || json.Unmarshal([]byte(text), &st) != nil || len(st.FileSystems) == 0 {
				return
			}
			known = append(known, storedBy{n + 1, st.FileSystems[0].Seq})
		}
	}()
	return out
}

func orderedPath(round, n int) string { return fmt.Sprintf("/ordered-%d/%06d", round, n) }

// checkOrder demands that of files stored one after the other the first ones are
// there, without a gap, and all that the named change covers.
func checkOrder(t *testing.T, s *kit.Server, round int, stored []storedBy, done *node.RebuildResult) {
	t.Helper()
	c := s.Client()
	there := 0
	for ; ; there++ {
		body, err := get(t, c, orderedPath(round, there))
		if isNotFound(err) {
			break
		}
		if err != nil || string(body) != fmt.Sprint(there) {
			t.Fatalf("file %d: %q, %v", there, body, err)
		}
	}
	listed := 0
	for _, err := range c.List(t.Context(), fmt.Sprintf("/ordered-%d/", round), client.ListOptions{}) {
		if err != nil && !isNotFound(err) {
			t.Fatal(err)
		}
		if err == nil {
			listed++
		}
	}
	if listed != there {
		t.Errorf("the first %d files are there, and %d more", there, listed-there)
	}
	for _, k := range stored {
		if k.seq <= done.Sequence && k.files > there {
			t.Errorf("the journal led to change %d; %d files were stored by change %d, %d are there", done.Sequence, k.files, k.seq, there)
		}
	}
	t.Logf("round %d: %d files in order", round, there)
}

func get(t *testing.T, c *client.Client, path string) ([]byte, error) {
	r, err := c.Get(t.Context(), path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func isNotFound(err error) bool { return errors.Is(err, client.ErrNotFound) }

func deleteIndex(t *testing.T, s *kit.Server) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Root, kit.FS, "system", "index.db*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("files of the index: %v %v", files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

var numbered = regexp.MustCompile(`~.*$`)

// checkRecovered reads every path that was written under load, and every one
// below /recovered: each is a version that was stored there, whole.
func checkRecovered(t *testing.T, s *kit.Server, l *kit.Ledger, done *node.RebuildResult) {
	t.Helper()
	c := s.Client()
	for _, path := range l.Paths() {
		if body, err := get(t, c, path); err == nil {
			if _, err := kit.Identify(path, body); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		} else if !isNotFound(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range done.Recovered {
		body, err := get(t, c, path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if _, err := kit.Identify(numbered.ReplaceAllString(strings.TrimPrefix(path, "/recovered"), ""), body); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
