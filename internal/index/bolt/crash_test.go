package bolt

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/indextest"
)

const (
	crashEnv     = "EFS_TEST_CRASH_INDEX" // the file that the child commits to
	crashWriters = 8
	crashRounds  = 12
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		crashChild(path)
		os.Exit(1) // its parent should have killed it
	}
	os.Exit(m.Run())
}

// crashChild commits for ever, telling of each confirmation.
func crashChild(path string) {
	x, err := Open(path, indextest.FS, sealer, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	var out sync.Mutex
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() {
			for {
				n, err := crashStep(x, w)
				out.Lock()
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					out.Unlock()
					return
				}
				fmt.Println(w, n)
				out.Unlock()
			}
		})
	}
	wg.Go(func() {
		for x.TrimChanges(context.Background(), x.head50()) == nil {
			time.Sleep(time.Millisecond)
		}
	})
	wg.Wait()
}

// head50 is a change that lies 50 before the head's.
func (x *Index) head50() uint64 {
	h, _ := x.Head(context.Background()) // of a closed index: nothing to trim
	return max(h.Seq, 50) - 50
}

// crashStep adds one to a writer's counter, with all that goes with it.
func crashStep(x *Index, w int) (uint64, error) {
	counter := crashKey(w, 0)
	r, err := x.Get(context.Background(), counter)
	if err != nil {
		return 0, err
	}
	n := uint64(1)
	if r[0].Version != 0 {
		n += binary.BigEndian.Uint64(r[0].Sealed)
	}
	value := binary.BigEndian.AppendUint64(nil, n)
	_, err = x.Commit(context.Background(), &efs.Txn{
		Checks: []efs.Check{{Kind: efs.CheckVersion, Key: counter, Version: r[0].Version}},
		Mutations: []efs.Mutation{
			{Key: counter, Sealed: value},
			{Key: crashKey(w, n), Sealed: make([]byte, 100+n%5000)},
		},
		Changes: [][]byte{value},
		Release: []efs.Release{{Content: efs.NewID()}},
		Usage:   []efs.Delta{{Account: indextest.FS, Files: 1}},
	})
	return n, err
}

func crashKey(w int, n uint64) efs.Key {
	return efs.Key{Space: efs.SpaceEntries, Bytes: binary.BigEndian.AppendUint64([]byte{byte(w)}, n)}
}

// TestKilled kills a process that commits, again and again, and checks each
// time that what was confirmed is there, and nothing by halves.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	x, err := Create(path, indextest.FS, sealer, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var confirmed [crashWriters]uint64
	for range crashRounds {
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		killChild(t, path, &confirmed)
		if x, err = Open(path, indextest.FS, sealer, Options{}); err != nil {
			t.Fatalf("open after a kill: %v", err)
		}
		checkAfterKill(t, x, &confirmed)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if confirmed == [crashWriters]uint64{} {
		t.Fatal("no child confirmed anything")
	}
}

func killChild(t *testing.T, path string, confirmed *[crashWriters]uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var timer *time.Timer
	for lines.Scan() {
		if timer == nil { // it has begun to commit
			timer = time.AfterFunc(time.Duration(rand.Int64N(int64(80*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		}
		var w int
		var n uint64
		if _, err := fmt.Sscan(lines.Text(), &w, &n); err != nil {
			continue // the last line was cut
		}
		confirmed[w] = n
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("child ended by itself: %v", err)
	}
}

func checkAfterKill(t *testing.T, x *Index, confirmed *[crashWriters]uint64) {
	t.Helper()
	ctx := t.Context()
	total := uint64(0)
	for w := range crashWriters {
		records, err := x.Scan(ctx, efs.SpaceEntries, []byte{byte(w)}, nil, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		n := uint64(0)
		if len(records) > 0 {
			n = binary.BigEndian.Uint64(records[0].Sealed)
		}
		if n < confirmed[w] || n > confirmed[w]+1 {
			t.Fatalf("writer %d: counter %d, confirmed %d", w, n, confirmed[w])
		}
		if len(records) != 0 && uint64(len(records)-1) != n {
			t.Fatalf("writer %d: counter %d, %d records", w, n, len(records)-1)
		}
		for i, r := range records[min(1, len(records)):] {
			if seq := binary.BigEndian.Uint64(r.Key[1:]); seq != uint64(i+1) || len(r.Sealed) != int(100+seq%5000) {
				t.Fatalf("writer %d: record %d is %d of %d bytes", w, i+1, seq, len(r.Sealed))
			}
		}
		confirmed[w] = n
		total += n
	}
	if u, err := x.Usage(ctx, indextest.FS); err != nil || u.Files != int64(total) {
		t.Fatalf("usage %+v (%v), %d records", u, err, total)
	}
	if q, err := x.Queued(ctx, efs.Release{}, 1<<20); err != nil || len(q) != int(total) {
		t.Fatalf("%d queued (%v), %d records", len(q), err, total)
	}
	checkChain(t, x, total)
}

// checkChain verifies the log from its first change to the head.
func checkChain(t *testing.T, x *Index, want uint64) {
	t.Helper()
	head, err := x.Head(t.Context())
	if err != nil || head.Seq != want {
		t.Fatalf("head at %d (%v), want %d", head.Seq, err, want)
	}
	first, _, err := x.LogBounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changes, err := x.Changes(t.Context(), first-1, 1<<20)
	if err != nil || len(changes) == 0 {
		t.Fatalf("%d changes from %d (%v)", len(changes), first, err)
	}
	for i := 1; i < len(changes); i++ {
		if c := changes[i]; c.Seq != changes[i-1].Seq+1 || c.Link != sealer.Link(changes[i-1].Link, c.Seq, c.Sealed) {
			t.Fatalf("change %d does not follow from %d", c.Seq, changes[i-1].Seq)
		}
	}
	if last := changes[len(changes)-1]; last.Seq != head.Seq || last.Link != head.Link {
		t.Fatalf("log ends at %d, head is at %d", last.Seq, head.Seq)
	}
}
