package journal

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/bolt"
	"github.com/efs-project/efs/internal/index/indextest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("EFS_JOURNAL_CHILD"); dir != "" {
		if err := childWrites(dir); err != nil {
			fmt.Println("error:", err)
		}
		return
	}
	os.Exit(m.Run())
}

// kept is an index with its journal.
type kept struct {
	index *bolt.Index
	*Keeper
	dir string
	n   uint64 // commits
}

func openIndex(dir string) (*bolt.Index, error) {
	path, sealer := filepath.Join(dir, "index.db"), indextest.Sealer("journal")
	x, err := bolt.Open(path, testFS, sealer, bolt.Options{})
	if errors.Is(err, efs.ErrNotFound) {
		return bolt.Create(path, testFS, sealer, bolt.Options{})
	}
	return x, err
}

func openKept(dir string, o Options) (*kept, error) {
	x, err := openIndex(dir)
	if err != nil {
		return nil, err
	}
	if o.Key, o.Index = testKey, x; o.Dir == "" {
		o.Dir = filepath.Join(dir, Dir)
	}
	if o.Pause == 0 {
		o.Pause = time.Millisecond
	}
	k, err := Start(o)
	if err != nil {
		return nil, err
	}
	k.Run()
	out := &kept{index: x, Keeper: k, dir: dir}
	out.n, err = counter(x)
	return out, err
}

func start(t *testing.T, dir string, o Options) *kept {
	t.Helper()
	k, err := openKept(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.end(t) })
	return k
}

func (k *kept) end(t *testing.T) {
	t.Helper()
	if err := errors.Join(k.Close(), k.index.Close()); err != nil {
		t.Error(err)
	}
}

// Commit n writes n under the key n modulo 100 and as the counter, and deletes
// the key of n+50.
var counterKey = efs.Key{Space: efs.SpaceMeta, Bytes: []byte("counter")}

func keyOf(n uint64) efs.Key {
	return efs.Key{Space: efs.SpaceEntries, Bytes: fmt.Appendf(nil, "key %02d", n%100)}
}

func counter(x *bolt.Index) (uint64, error) {
	recs, err := x.Get(context.Background(), counterKey)
	if err != nil || recs[0].Version == 0 {
		return 0, err
	}
	return binary.BigEndian.Uint64(recs[0].Sealed), nil
}

func valueOf(n uint64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, n), make([]byte, n*37%5000)...)
}

func (k *kept) commit() error {
	n := k.n + 1
	_, err := k.index.Commit(context.Background(), &efs.Txn{
		Mutations: []efs.Mutation{
			{Key: counterKey, Sealed: binary.BigEndian.AppendUint64(nil, n)},
			{Key: keyOf(n), Sealed: valueOf(n)},
			{Key: keyOf(n + 50)},
		},
		Changes: [][]byte{[]byte("change")},
		Release: []efs.Release{{Content: efs.ID{byte(n)}}},
	})
	if err == nil {
		k.n = n
	}
	return err
}

func (k *kept) commits(t *testing.T, n int) {
	t.Helper()
	for range n {
		if err := k.commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// await waits until the journal leads to all that was committed.
func (k *kept) await(t *testing.T) Status {
	t.Helper()
	head, err := k.index.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k.until(t, func(s Status) bool { return s.State == Current && s.Head.Revision == head.Revision })
}

func (k *kept) until(t *testing.T, cond func(Status) bool) Status {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(time.Millisecond) {
		if s := k.Status(); cond(s) {
			return s
		}
	}
	t.Fatalf("never came to it: %+v", k.Status())
	panic("unreachable")
}

// checkJournal fails unless the journal yields the state after some commit, and
// returns which.
func checkJournal(t *testing.T, dir string) (uint64, Report) {
	t.Helper()
	s, rep := replayed(t, filepath.Join(dir, Dir))
	c, ok := s.records[name(counterKey)]
	if !ok {
		if len(s.records) > 0 {
			t.Fatalf("%d records, but no counter", len(s.records))
		}
		return 0, rep
	}
	n := binary.BigEndian.Uint64(c.Sealed)
	last := map[string]uint64{} // as the commits left it: by replaying the model
	for i := uint64(1); i <= n; i++ {
		last[string(keyOf(i).Bytes)] = i
		delete(last, string(keyOf(i+50).Bytes))
	}
	if len(s.records) != len(last)+1 {
		t.Fatalf("after commit %d: %d records, not %d", n, len(s.records)-1, len(last))
	}
	for k, i := range last {
		if r := s.records[name(efs.Key{Space: efs.SpaceEntries, Bytes: []byte(k)})]; string(r.Sealed) != string(valueOf(i)) {
			t.Fatalf("after commit %d: %s is not what commit %d wrote", n, k, i)
		}
	}
	if uint64(len(s.queue)) != n || rep.Seq != n {
		t.Fatalf("after commit %d: %d contents in the queue, change %d", n, len(s.queue), rep.Seq)
	}
	return n, rep
}

func TestJournalFollowsTheIndex(t *testing.T) {
	dir := t.TempDir()
	k := start(t, dir, Options{})
	k.commits(t, 300)
	k.await(t)
	if n, rep := checkJournal(t, dir); n != 300 || !rep.Complete {
		t.Errorf("leads to %d of 300; %+v", n, rep)
	}
	k.commits(t, 300)
	k.await(t)
	if n, rep := checkJournal(t, dir); n != 600 || !rep.Complete {
		t.Errorf("leads to %d of 600; %+v", n, rep)
	}
}

func TestNextRunGoesOnWhereTheLastEnded(t *testing.T) {
	dir := t.TempDir()
	for run := range 5 {
		k, err := openKept(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		k.commits(t, 50)
		if s := k.await(t); s.Made != 0 || s.Gaps != 0 {
			t.Errorf("run %d: %+v", run, s)
		}
		k.commits(t, 20) // not waited for
		k.end(t)
		if n, rep := checkJournal(t, dir); n != uint64(70*(run+1)) || !rep.Complete {
			t.Errorf("run %d: leads to %d; %+v", run, n, rep)
		}
	}
}

func TestRunThatWroteNothingLeavesTheJournalAsItWas(t *testing.T) {
	dir := t.TempDir()
	k := start(t, dir, Options{})
	k.commits(t, 5)
	k.await(t)
	k.end(t)
	before, err := list(filepath.Join(dir, Dir))
	if err != nil {
		t.Fatal(err)
	}
	k = start(t, dir, Options{})
	k.await(t)
	k.end(t)
	after, err := list(filepath.Join(dir, Dir))
	if err != nil || fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("%v, then %v: %v", before, after, err)
	}
}

func TestLongLogsAreReplacedByACheckpoint(t *testing.T) {
	dir := t.TempDir()
	k := start(t, dir, Options{Logs: 200_000})
	made := uint64(0)
	for range 30 {
		k.commits(t, 60)
		made = k.await(t).Made
	}
	if made < 3 {
		t.Errorf("%d checkpoints", made)
	}
	k.end(t)
	files, err := list(filepath.Join(dir, Dir))
	if err != nil || len(only(files, kindCheckpoint)) != 1 {
		t.Errorf("%d files, error %v", len(files), err)
	}
	if n, rep := checkJournal(t, dir); n != 1800 || !rep.Complete {
		t.Errorf("leads to %d; %+v", n, rep)
	}
}

func TestFullVolumePausesTheJournalAlone(t *testing.T) {
	dir := t.TempDir()
	var room atomic.Int64
	room.Store(1 << 40)
	k := start(t, dir, Options{Room: func() (int64, error) { return room.Load(), nil }})
	k.commits(t, 50)
	k.await(t)
	room.Store(-1)
	k.commits(t, 50)
	s := k.until(t, func(s Status) bool { return s.State == Paused })
	if s.Head.Seq != 50 || s.Behind.IsZero() || !strings.Contains(s.Reason, "room") {
		t.Errorf("%+v", s)
	}
	k.commits(t, 50)
	if n, _ := checkJournal(t, dir); n != 50 {
		t.Errorf("leads to %d", n)
	}
	room.Store(1 << 40)
	if s := k.await(t); s.Gaps == 0 || s.Made < 1 {
		t.Errorf("%+v", s)
	}
	if n, rep := checkJournal(t, dir); n != 150 || !rep.Complete {
		t.Errorf("leads to %d; %+v", n, rep)
	}
}

// Whatever step fails, once or for a while: the journal leads to a state that
// was, and in the end to the last one.
func TestFailuresAreTriedAgain(t *testing.T) {
	for _, step := range []string{"log", "checkpoint", "rename", "remove"} {
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			var failing atomic.Bool
			k := start(t, dir, Options{Logs: 50_000, Fault: func(s string) error {
				if s == step && failing.Load() {
					return errors.New("as the test wants it")
				}
				return nil
			}})
			k.await(t)
			for range 6 {
				failing.Store(true)
				k.commits(t, 60)
				time.Sleep(5 * time.Millisecond)
				checkJournal(t, dir)
				failing.Store(false)
				k.commits(t, 20)
				k.await(t)
				if n, rep := checkJournal(t, dir); n != k.n || !rep.Complete && step != "remove" {
					t.Fatalf("leads to %d of %d; %+v", n, k.n, rep)
				}
			}
		})
	}
}

func TestMoreThanTheTapHoldsIsAGap(t *testing.T) {
	e := &encoder{limit: 1000}
	k := efs.Key{Space: 1, Bytes: []byte("k")}
	for i := range uint64(10) {
		e.Put(k, i+1, make([]byte, 100))
		e.Committed(i, efs.Head{Revision: i + 1})
	}
	if !e.gap || len(e.buf) > 1000 || len(e.buf) != e.whole {
		t.Fatalf("gap %v, %d bytes of which %d are whole", e.gap, len(e.buf), e.whole)
	}
	heads := uint64(0)
	for b := e.buf; len(b) > 0; {
		it, rest, err := nextItem(b)
		if err != nil {
			t.Fatal(err)
		}
		if b = rest; it.kind == itemHead {
			if heads++; it.head.Revision != heads {
				t.Errorf("commit %d comes as number %d", it.head.Revision, heads)
			}
		}
	}
	if heads == 0 || heads == 10 {
		t.Errorf("%d commits kept", heads)
	}
}

// A server that is killed at any moment, while it makes checkpoints all the
// time: the journal leads to a state that was, with all that had been there
// before the kill for long.
func TestKilledAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	rounds := 25
	if testing.Short() {
		rounds = 8
	}
	reached := uint64(0)
	for range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "EFS_JOURNAL_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		durable, kill := uint64(0), 1+rand.IntN(12)
		for lines.Scan() {
			n, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err != nil {
				t.Fatal(lines.Text())
			}
			durable = max(durable, n)
			if kill--; kill == 0 {
				time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
				_ = cmd.Process.Kill()
				_, _ = io.Copy(io.Discard, out)
				break
			}
		}
		_ = cmd.Wait()
		if _, err := Verify(t.Context(), filepath.Join(dir, Dir), testKey); errors.Is(err, efs.ErrNotFound) && durable == 0 && reached == 0 {
			continue // killed before it wrote anything
		}
		n, _ := checkJournal(t, dir)
		if n < durable || n < reached {
			t.Fatalf("leads to %d; %d and %d were in it", n, durable, reached)
		}
		reached = n
	}
	if reached < uint64(rounds) {
		t.Errorf("only %d commits were tried", reached)
	}
}

// childWrites commits without end, and prints how far the journal is.
func childWrites(dir string) error {
	k, err := openKept(dir, Options{Logs: 30_000})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		if err := k.commit(); err != nil {
			return err
		}
		if i%10 == 0 {
			fmt.Println(k.Status().Head.Seq)
		}
	}
}

// What follows an index that turns out to be another one changes nothing.
func TestNotRunItLeavesTheJournalAlone(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	k := start(t, dir, Options{})
	k.commits(t, 30)
	k.await(t)
	k.end(t)
	before, err := list(filepath.Join(dir, Dir))
	if err != nil {
		t.Fatal(err)
	}
	x, err := openIndex(other)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := Start(Options{Dir: filepath.Join(dir, Dir), Key: testKey, Index: x, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	in := &kept{index: x, Keeper: wrong}
	in.commits(t, 20)
	time.Sleep(20 * time.Millisecond)
	in.end(t)
	after, err := list(filepath.Join(dir, Dir))
	if err != nil || fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("%v, then %v: %v", before, after, err)
	}
}
