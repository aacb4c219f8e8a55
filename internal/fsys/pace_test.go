package fsys

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

func TestPaceLearns(t *testing.T) {
	full := fmt.Errorf("index: %w", efs.ErrNoSpace)
	for _, c := range []struct {
		what  string
		steps int
		took  time.Duration
		err   error
		next  int
		again bool
	}{
		{"quick", 256, paceQuick - 1, nil, 512, false},
		{"in between", 256, paceQuick, nil, 256, false},
		{"in between", 256, paceSlow, nil, 256, false},
		{"slow", 256, paceSlow + 1, nil, 128, false},
		{"quick and as large as may be", paceMost, 0, nil, paceMost, false},
		{"slow and as small as may be", paceLeast, time.Hour, nil, paceLeast, false},
		{"no room", 256, 0, full, 128, true},
		{"no room for little more than the least", paceLeast + 1, 0, full, paceLeast, true},
		{"no room at all", paceLeast, 0, full, paceLeast, false},
		{"failed", 256, 0, efs.ErrStopped, 256, false},
	} {
		p := pace{steps: c.steps}
		if again := p.learn(c.took, c.err); p.steps != c.next || again != c.again {
			t.Errorf("%s: %d becomes %d, again: %v", c.what, c.steps, p.steps, again)
		}
	}
}

// tries runs p once and returns with how many steps it was tried.
func tries(p *pace, do func(steps int) error) (sizes []int, err error) {
	err = p.try(func(steps int) error {
		sizes = append(sizes, steps)
		return do(steps)
	})
	return sizes, err
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
	if !errors.Is(err, efs.ErrStopped) || fmt.Sprint(sizes) != fmt.Sprintf("[%d]", paceFirst) {
		t.Errorf("tried with %v: %v", sizes, err)
	}
}
