package fsys

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

// TestWhatGoesOnForLongHasALineAtOnce, and one only.
func TestWhatGoesOnForLongHasALineAtOnce(t *testing.T) {
	e := newEnv(t)
	begun := 0
	cause := &Cause{Origin: efs.Origin{Op: "dir.copy", Request: "r"}, Begun: func() { begun++ }}
	who := Who{User: "app1", Cause: cause}
	who.goingOn(causeBytes + 1)
	if begun != 0 {
		t.Error("it is said to have begun before anything was committed")
	}
	_, err := e.Put(ctx, "f", bytes.NewReader(nil), PutOptions{Who: who, Size: -1})
	e.check(err)
	cause.at = time.Now().Add(time.Hour) // so that only the size counts
	who.goingOn(1)
	if begun != 0 {
		t.Error("a short one has a line of its own")
	}
	who.goingOn(causeBytes + 1)
	who.goingOn(causeBytes + 1)
	if begun != 1 {
		t.Errorf("it is said %d times to have begun", begun)
	}
	e.check(e.eras.wait(ctx)) // nobody waits for its end
	seq := cause.Seq()
	_, err = e.Put(ctx, "g", bytes.NewReader(nil), PutOptions{Who: who, Size: -1})
	e.check(err)
	if cause.Seq() != seq {
		t.Error("a second change tells of the same request")
	}
}

// TestLinesAreWaitedForWhoseCommitWasBegunBefore, not those of commits that are
// begun meanwhile; and who gives up waiting loses none.
func TestLinesAreWaitedForWhoseCommitWasBegunBefore(t *testing.T) {
	s := eras{now: newEra()}
	early := s.enter()
	given, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.wait(given); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v: the line of a commit that was begun was not waited for", err)
	}
	late := s.enter()
	done := make(chan error)
	go func() { done <- s.wait(ctx) }()
	s.leave(late)
	select {
	case err := <-done:
		t.Fatalf("%v: who gave up waiting made the next one forget", err)
	case <-time.After(20 * time.Millisecond):
	}
	s.leave(early)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.wait(ctx); err != nil {
		t.Fatal(err)
	}
}
