package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

func TestCheckpointIsReadAsWritten(t *testing.T) {
	s := filled(random(t), 800)
	var b bytes.Buffer
	if err := WriteCheckpoint(t.Context(), &b, testKey, s); err != nil {
		t.Fatal(err)
	}
	if b.Len() < 3*chunkSize {
		t.Fatalf("%d bytes are no test of several chunks", b.Len())
	}
	got := newState()
	rep, err := ReadCheckpointTo(&b, testKey, got.visitor())
	if err != nil || !rep.Complete || rep.Lost != "" {
		t.Fatalf("report %+v, error %v", rep, err)
	}
	if got.head = rep.Head; got.head != s.head || rep.Records != int64(len(s.records)) {
		t.Errorf("head %+v of %d records, want %+v of %d", rep.Head, rep.Records, s.head, len(s.records))
	}
	if diff := s.same(got); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyIndexHasACheckpoint(t *testing.T) {
	var b bytes.Buffer
	if err := WriteCheckpoint(t.Context(), &b, testKey, newState()); err != nil {
		t.Fatal(err)
	}
	rep, err := ReadCheckpoint(&b, testKey, func(efs.Key, []byte) error { return errors.New("there is none") })
	if err != nil || !rep.Complete || rep.Head != (efs.Head{FS: testFS}) {
		t.Errorf("report %+v, error %v", rep, err)
	}
}

func TestReplayIsCheckpointAndWhatFollows(t *testing.T) {
	rng, dir := random(t), t.TempDir()
	s := filled(rng, 50)
	_, _ = logOf(t, rng, dir, s, 1, 40) // began before the checkpoint was taken …
	_, states := logOf(t, rng, dir, s, 2, 60)
	checkpointOf(t, dir, states[20], 2) // … and the second while it was
	_, states = logOf(t, rng, dir, s, 3, 10)
	got, rep := replayed(t, dir)
	if diff := states[len(states)-1].same(got); diff != "" || !rep.Complete || rep.Commits != 50 {
		t.Errorf("%s; report %+v", diff, rep)
	}
}

func TestOtherKeyOpensNothing(t *testing.T) {
	dir := t.TempDir()
	checkpointOf(t, dir, filled(random(t), 5), 1)
	_, err := ReplayTo(dir, bytes.Repeat([]byte{8}, 32), &Visitor{})
	if !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("error %v", err)
	}
	if _, err = ReplayTo(dir, testKey[:16], &Visitor{}); !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("short key: %v", err)
	}
}

func TestWithoutCheckpointThereIsNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReplayTo(dir, testKey, &Visitor{}); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("empty directory: %v", err)
	}
	if _, err := ReplayTo(filepath.Join(dir, "none"), testKey, &Visitor{}); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("no directory: %v", err)
	}
}

func TestLaterFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := checkpointOf(t, dir, newState(), 1)
	b := read(t, path)
	b[4] = formatVersion + 1
	write(t, path, b)
	if _, err := ReplayTo(dir, testKey, &Visitor{}); !errors.Is(err, efs.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}

func TestVisitorsErrorEndsReading(t *testing.T) {
	dir := t.TempDir()
	checkpointOf(t, dir, filled(random(t), 5), 1)
	stop := errors.New("stop")
	if _, err := Replay(dir, testKey, func(efs.Key, []byte) error { return stop }, nil); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

// Every byte of a log, altered or cut off there: what is read is the state
// after one of the commits, never another, and what is lost is said.
func TestDamagedLogGivesAnEarlierState(t *testing.T) {
	rng, dir := random(t), t.TempDir()
	s := filled(rng, 20)
	checkpointOf(t, dir, s, 1)
	path, states := logOf(t, rng, dir, s, 1, 12)
	whole := read(t, path)
	for range 400 {
		at := rng.IntN(len(whole))
		damaged := slices.Clone(whole)
		damaged[at] ^= byte(1 + rng.IntN(255))
		for what, b := range map[string][]byte{"altered": damaged, "cut": whole[:at]} {
			write(t, path, b)
			got, rep := replayed(t, dir)
			i := slices.IndexFunc(states, func(s *state) bool { return s.same(got) == "" })
			if i < 0 {
				t.Fatalf("byte %d %s: a state that never was", at, what)
			}
			if what == "altered" && rep.Complete {
				t.Fatalf("byte %d of %d altered: nothing said, state %d of %d", at, len(whole), i, len(states)-1)
			}
		}
	}
}

// Every region of a checkpoint, altered: what is read was in it, and all of it
// but for the chunk that was hit.
func TestDamagedCheckpointGivesTheRest(t *testing.T) {
	rng, dir := random(t), t.TempDir()
	s := filled(rng, 1000)
	path := checkpointOf(t, dir, s, 1)
	whole := read(t, path)
	for range 40 {
		at := blockLen + rng.IntN(len(whole)-blockLen)
		damaged := slices.Clone(whole)
		damaged[at] ^= byte(1 + rng.IntN(255))
		write(t, path, damaged)
		got, rep := replayed(t, dir)
		if rep.Complete || !strings.Contains(rep.Lost, "checkpoint") {
			t.Fatalf("byte %d altered: %+v", at, rep)
		}
		size := 0
		for k, r := range s.records {
			if g, ok := got.records[k]; !ok {
				size += len(r.Key) + len(r.Sealed)
			} else if !bytes.Equal(g.Sealed, r.Sealed) || g.Version != r.Version {
				t.Fatalf("byte %d altered: another record", at)
			}
		}
		if size > chunkSize || len(got.records) > len(s.records) {
			t.Errorf("byte %d altered: %d bytes lost", at, size)
		}
		if !sameHead(got.head, s.head) {
			t.Errorf("byte %d altered: head %+v", at, got.head)
		}
	}
}

func TestDamagedCheckpointIsPassedByForAnOlderOne(t *testing.T) {
	rng, dir := random(t), t.TempDir()
	s := filled(rng, 20)
	checkpointOf(t, dir, s, 1)
	_, _ = logOf(t, rng, dir, s, 1, 5)
	newest := checkpointOf(t, dir, s, 2)
	_, states := logOf(t, rng, dir, s, 2, 5)
	b := read(t, newest)
	b[len(b)-1] ^= 1
	write(t, newest, b)
	got, rep := replayed(t, dir)
	if diff := states[len(states)-1].same(got); diff != "" {
		t.Error(diff)
	}
	if rep.Complete || !strings.Contains(rep.Lost, "0000000002.checkpoint") {
		t.Errorf("report %+v", rep)
	}
}

func TestFilesCannotBeExchanged(t *testing.T) {
	rng := random(t)
	s := filled(rng, 20)
	one, other := t.TempDir(), t.TempDir()
	base := s.clone()
	checkpointOf(t, one, base, 1)
	first, states := logOf(t, rng, one, s, 1, 5)
	second, _ := logOf(t, rng, one, s, 2, 5)
	fork, _ := logOf(t, rng, other, base.clone(), 2, 5)
	third, _ := logOf(t, rng, one, s, 3, 5)
	mid := states[len(states)-1]
	files := map[string][]byte{}
	for _, p := range []string{first, second, third} {
		files[p] = read(t, p)
	}
	for what, change := range map[string]func(){
		"a log of another history": func() { write(t, second, read(t, fork)) },
		"a log in place of another": func() {
			write(t, second, files[third])
		},
		"a log removed": func() {
			if err := os.Remove(second); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for p, b := range files {
			write(t, p, b)
		}
		change()
		got, rep := replayed(t, one)
		if diff := mid.same(got); diff != "" || rep.Complete {
			t.Errorf("%s: %s; %+v", what, diff, rep)
		}
	}
}

func TestGapIsTold(t *testing.T) {
	rng, dir := random(t), t.TempDir()
	s := filled(rng, 20)
	checkpointOf(t, dir, s, 1)
	_, states := logOf(t, rng, dir, s, 1, 5)
	s.mutate(rng, nil) // nobody wrote this one
	_, _ = logOf(t, rng, dir, s, 2, 5)
	got, rep := replayed(t, dir)
	if diff := states[len(states)-1].same(got); diff != "" || rep.Complete || !strings.Contains(rep.Lost, "missing") {
		t.Errorf("%s; %+v", diff, rep)
	}
}

func TestNothingCanBeReadWithoutTheKey(t *testing.T) {
	dir := t.TempDir()
	s := newState()
	secret := []byte("a key that tells something")
	_ = s.visitor().Put(efs.Key{Space: efs.SpaceEntries, Bytes: secret}, 1, []byte("a sealed value, as it is"))
	path := checkpointOf(t, dir, s, 1)
	for _, w := range []string{string(secret), "a sealed value"} {
		if bytes.Contains(read(t, path), []byte(w)) {
			t.Errorf("%q is readable", w)
		}
	}
}
