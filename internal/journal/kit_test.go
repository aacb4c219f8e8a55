package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/efs-project/efs"
)

var (
	testFS  = efs.ID{0xef, 0x5f, 1}
	testKey = bytes.Repeat([]byte{7}, 32)
)

// state is an index in memory: an index to take checkpoints of, and what a
// journal is read into.
type state struct {
	head    efs.Head
	records map[string]efs.Record // by space and key
	queue   map[string]efs.Release
}

func newState() *state {
	return &state{head: efs.Head{FS: testFS}, records: map[string]efs.Record{}, queue: map[string]efs.Release{}}
}

func (s *state) clone() *state {
	return &state{s.head, maps.Clone(s.records), maps.Clone(s.queue)}
}

func name(k efs.Key) string { return string(byte(k.Space)) + string(k.Bytes) }

func queueName(r efs.Release) string { return fmt.Sprintf("%020d%x", r.Revision, r.Content) }

func (s *state) visitor() *Visitor {
	return &Visitor{
		Put: func(k efs.Key, version uint64, sealed []byte) error {
			s.records[name(k)] = efs.Record{Key: k.Bytes, Version: version, Sealed: sealed}
			return nil
		},
		Delete:  func(k efs.Key) error { delete(s.records, name(k)); return nil },
		Queue:   func(r efs.Release) error { s.queue[queueName(r)] = r; return nil },
		Unqueue: func(r efs.Release) error { delete(s.queue, queueName(r)); return nil },
	}
}

func (s *state) Head() efs.Head { return s.head }

func (s *state) Scan(_ context.Context, space efs.Space, prefix, after []byte, limit int) (out []efs.Record, err error) {
	for _, k := range slices.Sorted(maps.Keys(s.records)) {
		if r := s.records[k]; k[0] == byte(space) && bytes.HasPrefix(r.Key, prefix) && (after == nil || bytes.Compare(r.Key, after) > 0) && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func (s *state) Queued(_ context.Context, after efs.Release, limit int) (out []efs.Release, err error) {
	for _, k := range slices.Sorted(maps.Keys(s.queue)) {
		if k > queueName(after) && len(out) < limit {
			out = append(out, s.queue[k])
		}
	}
	return out, nil
}

// same reports how two states differ, "" if they do not.
func (s *state) same(o *state) string {
	if !sameHead(s.head, o.head) {
		return fmt.Sprintf("heads %d/%d and %d/%d", s.head.Revision, s.head.Seq, o.head.Revision, o.head.Seq)
	}
	equal := func(a, b efs.Record) bool {
		return bytes.Equal(a.Key, b.Key) && a.Version == b.Version && bytes.Equal(a.Sealed, b.Sealed)
	}
	if !maps.EqualFunc(s.records, o.records, equal) {
		return fmt.Sprintf("%d and %d records differ", len(s.records), len(o.records))
	}
	if !maps.Equal(s.queue, o.queue) {
		return fmt.Sprintf("queues of %d and %d differ", len(s.queue), len(o.queue))
	}
	return ""
}

// mutate commits something and tells f of it, if that is not nil.
func (s *state) mutate(rng *rand.Rand, f efs.IndexFollower) {
	before := s.head.Revision
	s.head.Revision++
	s.head.Seq += uint64(rng.IntN(3))
	rng.Uint64()
	s.head.Link[0], s.head.Link[1] = byte(rng.Uint32()), byte(s.head.Revision)
	s.head.Time++
	v := s.visitor()
	for range 1 + rng.IntN(5) {
		k := efs.Key{Space: efs.Space(1 + rng.IntN(efs.Spaces)), Bytes: fmt.Appendf(nil, "key %d", rng.IntN(500))}
		if rng.IntN(4) == 0 {
			_ = v.Delete(k)
			if f != nil {
				f.Delete(k)
			}
			continue
		}
		sealed := make([]byte, rng.IntN(6000))
		for i := range sealed {
			sealed[i] = byte(rng.Uint32())
		}
		_ = v.Put(k, s.head.Revision, sealed)
		if f != nil {
			f.Put(k, s.head.Revision, sealed)
		}
	}
	r := efs.Release{Revision: s.head.Revision, Seq: s.head.Seq, Content: efs.ID{byte(rng.Uint32())}, Inline: rng.IntN(2) == 0}
	_ = v.Queue(r)
	if f != nil {
		f.Queue(r)
	}
	if rng.IntN(2) == 0 {
		for _, k := range slices.Sorted(maps.Keys(s.queue))[:1] {
			r := s.queue[k]
			_ = v.Unqueue(r)
			if f != nil {
				f.Unqueue(r)
			}
		}
	}
	if f != nil {
		f.Committed(before, s.head)
	}
}

func random(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// filled is a state of n commits.
func filled(rng *rand.Rand, n int) *state {
	s := newState()
	for range n {
		s.mutate(rng, nil)
	}
	return s
}

// checkpointOf writes s into a directory as checkpoint number.
func checkpointOf(t *testing.T, dir string, s *state, number uint64) string {
	t.Helper()
	var b bytes.Buffer
	if err := writeCheckpoint(t.Context(), &b, testKey, s, number); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileName(number, checkpointSuffix))
	write(t, path, b.Bytes())
	return path
}

// logOf writes n commits of s into a directory as log number, and returns the
// states after each.
func logOf(t *testing.T, rng *rand.Rand, dir string, s *state, number uint64, n int) (path string, states []*state) {
	t.Helper()
	var b bytes.Buffer
	w, err := newStreamWriter(&b, testKey, fileHeader{kind: kindLog, number: number, fs: testFS})
	if err == nil {
		err = w.chunk(chunkData, appendHead(nil, s.head.Revision, s.head))
	}
	if err != nil {
		t.Fatal(err)
	}
	e := &encoder{limit: 1 << 30}
	states = append(states, s.clone())
	for range n {
		s.mutate(rng, e)
		states = append(states, s.clone())
		if rng.IntN(3) == 0 {
			if err := w.chunk(chunkData, e.buf); err != nil {
				t.Fatal(err)
			}
			e.buf = e.buf[:0]
		}
	}
	if err := w.chunk(chunkEnd, e.buf); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, fileName(number, logSuffix))
	write(t, path, b.Bytes())
	return path, states
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replayed reads a directory into a state, also one that is being written.
func replayed(t *testing.T, dir string) (*state, Report) {
	t.Helper()
	for {
		s := newState()
		rep, err := ReplayTo(dir, testKey, s.visitor())
		if errors.Is(err, os.ErrNotExist) {
			continue // replaced by a checkpoint meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		s.head = rep.Head
		return s, rep
	}
}
