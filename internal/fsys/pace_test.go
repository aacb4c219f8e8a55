package fsys

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

// tries runs p once and returns with how many steps it was tried.
func tries(p *pace, do func(steps int) error) (sizes []int, err error) {
	err = p.try(func(steps int) error {
		sizes = append(sizes, steps)
		return do(steps)
	})
	return sizes, err
}

func TestPaceGrowsToItsBoundWhileItIsQuick(t *testing.T) {
	var p pace
	want := paceFirst
	for range 20 {
		sizes := must(tries(&p, func(int) error { return nil }))
		if len(sizes) != 1 || sizes[0] != want {
			t.Fatalf("tried with %v instead of %d", sizes, want)
		}
		want = min(2*want, paceMost)
	}
	if p.steps != paceMost {
		t.Errorf("ends at %d", p.steps)
	}
}

func TestPaceShrinksWhileItIsSlow(t *testing.T) {
	p := pace{steps: 2 * paceLeast}
	for range 3 {
		must(tries(&p, func(int) error { time.Sleep(paceSlow + time.Millisecond); return nil }))
	}
	if p.steps != paceLeast {
		t.Errorf("ends at %d", p.steps)
	}
}

// On a full volume a smaller transaction may fit where a larger one does not.
func TestPaceLooksForRoom(t *testing.T) {
	full := fmt.Errorf("index: %w", efs.ErrNoSpace)
	p := pace{steps: 512}
	sizes, err := tries(&p, func(steps int) error {
		if steps > 100 {
			return full
		}
		return nil
	})
	if err != nil || fmt.Sprint(sizes) != "[512 256 128 64]" {
		t.Errorf("tried with %v: %v", sizes, err)
	}
	sizes, err = tries(&p, func(int) error { return full })
	if !errors.Is(err, efs.ErrNoSpace) || sizes[len(sizes)-1] > paceLeast {
		t.Errorf("gave up after %v: %v", sizes, err)
	}
}

func TestPaceHandsFailuresOn(t *testing.T) {
	var p pace
	sizes, err := tries(&p, func(int) error { return efs.ErrStopped })
	if !errors.Is(err, efs.ErrStopped) || len(sizes) != 1 {
		t.Errorf("tried with %v: %v", sizes, err)
	}
}
