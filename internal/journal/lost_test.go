package journal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A directory that cannot be read when the server starts, and can later: what
// is written then counts, not what was there.
func TestNumbersGoOnAboveWhatCouldNotBeSeen(t *testing.T) {
	dir := t.TempDir()
	real, journal := filepath.Join(dir, "volume"), filepath.Join(dir, Dir)
	point := func(target string) {
		t.Helper()
		if err := errors.Join(os.Symlink(target, journal+".new"), os.Rename(journal+".new", journal)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(real, 0o700); err != nil {
		t.Fatal(err)
	}
	point(real)
	k := start(t, dir, Options{})
	k.commits(t, 20)
	for i := range uint64(3) {
		k.await(t)
		k.Renew()
		k.until(t, func(s Status) bool { return s.Made > i })
	}
	k.await(t)
	k.end(t)
	write(t, filepath.Join(dir, "none"), nil)
	point(filepath.Join(dir, "none"))
	k = start(t, dir, Options{})
	k.commits(t, 10)
	k.until(t, func(s Status) bool { return s.State == Paused })
	point(real)
	k.await(t)
	if n, rep := checkJournal(t, dir); n != 30 || !rep.Complete {
		t.Errorf("leads to %d of 30; %+v", n, rep)
	}
}

// Whoever removes the journal of a running server gets a new one.
func TestRemovedFilesAreNoticed(t *testing.T) {
	for what, remove := range map[string]func(dir string) error{
		"all": func(dir string) error { return os.Rename(dir, dir+".gone") }, // in one step: it is written at any time
		"the checkpoint": func(dir string) error {
			files, err := list(dir)
			return errors.Join(err, os.Remove(only(files, kindCheckpoint)[0].path))
		},
		"the log": func(dir string) error {
			files, err := list(dir)
			return errors.Join(err, os.Remove(only(files, kindLog)[0].path))
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			k := start(t, dir, Options{})
			k.commits(t, 10)
			k.await(t)
			k.Renew()
			k.until(t, func(s Status) bool { return s.Made > 0 })
			k.commits(t, 10)
			made := k.await(t).Made
			if err := remove(filepath.Join(dir, Dir)); err != nil {
				t.Fatal(err)
			}
			k.until(t, func(s Status) bool { return s.Made > made })
			k.await(t)
			if n, rep := checkJournal(t, dir); n != 20 || !rep.Complete {
				t.Errorf("leads to %d of 20; %+v", n, rep)
			}
		})
	}
}

// A log that no checkpoint leads to is never ended in order: killed before the
// next one is there, the next run would go on from it.
func TestLogThatNothingLeadsToIsNotGoneOnFrom(t *testing.T) {
	dir := t.TempDir()
	k := start(t, dir, Options{})
	k.commits(t, 20)
	k.end(t)
	x, err := openIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := Start(Options{Dir: filepath.Join(dir, Dir), Key: testKey, Index: x})
	if err != nil {
		t.Fatal(err)
	}
	cut := &kept{index: x, Keeper: keeper, n: 20}
	keeper.miss(time.Time{})
	cut.commits(t, 5) // which the journal misses
	err = errors.Join(keeper.turn(), keeper.turn())
	if err == nil {
		err = os.Remove(keeper.current.f.Name())
	}
	keeper.stop()
	if err := errors.Join(err, x.Close()); err != nil {
		t.Fatal(err)
	}
	k = start(t, dir, Options{})
	k.await(t)
	if n, rep := checkJournal(t, dir); n != 25 || !rep.Complete {
		t.Errorf("leads to %d of 25; %+v", n, rep)
	}
}

// failing cannot read some bytes, as a disk with bad sectors.
type failing struct {
	*bytes.Reader
	from, to int64
}

func (f *failing) Read(b []byte) (int, error) {
	at, _ := f.Seek(0, io.SeekCurrent)
	switch {
	case at >= f.from && at < f.to:
		return 0, syscall.EIO
	case at < f.from:
		b = b[:min(int64(len(b)), f.from-at)]
	}
	return f.Reader.Read(b)
}

func TestBadSectorsOfACheckpointArePassedBy(t *testing.T) {
	rng, dir := random(t), t.TempDir()
	s := filled(rng, 1500)
	b := read(t, checkpointOf(t, dir, s, 1))
	got := newState()
	from := int64(len(b)/3) &^ (blockLen - 1)
	rep, _, err := readCheckpoint(&failing{bytes.NewReader(b), from, from + 3*blockLen}, testKey, got.visitor())
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for k, r := range s.records {
		if _, ok := got.records[k]; !ok {
			size += len(r.Key) + len(r.Sealed)
		}
	}
	if rep.Complete || !sameHead(rep.Head, s.head) || size == 0 || size > 2*chunkSize {
		t.Errorf("%d bytes lost; %+v", size, rep)
	}
}

// Who checks a journal of gigabytes may give up.
func TestVerifyEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	checkpointOf(t, dir, filled(random(t), 5), 1)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Verify(ctx, dir, testKey); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := Verify(ctx, dir, testKey); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

// A volume that is away is not made anew in its place; when it is back, the
// journal goes on.
func TestNothingIsMadeInPlaceOfAVolumeThatIsAway(t *testing.T) {
	dir := t.TempDir()
	volume := filepath.Join(dir, "volume")
	if err := os.Mkdir(volume, 0o700); err != nil {
		t.Fatal(err)
	}
	k := start(t, dir, Options{Dir: filepath.Join(volume, Dir)})
	k.commits(t, 10)
	k.await(t)
	if err := os.Rename(volume, volume+".away"); err != nil {
		t.Fatal(err)
	}
	k.commits(t, 10)
	k.until(t, func(s Status) bool { return s.State == Paused })
	if _, err := os.Lstat(volume); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("something is in its place: %v", err)
	}
	if err := os.Rename(volume+".away", volume); err != nil {
		t.Fatal(err)
	}
	k.commits(t, 10)
	k.await(t)
	if n, rep := checkJournal(t, volume); n != 30 || !rep.Complete {
		t.Errorf("leads to %d of 30; %+v", n, rep)
	}
}
