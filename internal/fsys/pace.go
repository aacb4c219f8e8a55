package fsys

import (
	"errors"
	"time"

	"github.com/efs-project/efs"
)

// A pace is how much of a large piece of background work goes into one
// transaction. Few large transactions cost far less than many small ones, but
// whoever stores meanwhile waits for the one under way: so the size follows
// from how long the last one took, whatever the volume and the index are like.
// The zero pace begins with paceFirst steps.
type pace struct{ steps int }

const (
	paceFirst = 256
	paceLeast = 16
	paceMost  = 4096
	paceQuick = 20 * time.Millisecond // taking less, the next one is twice as large
	paceSlow  = 60 * time.Millisecond // taking more, half as large
)

// try does steps at once, and fewer if there is no room for so many.
func (p *pace) try(do func(steps int) error) error {
	for {
		if p.steps == 0 {
			p.steps = paceFirst
		}
		begun := time.Now()
		err := do(p.steps)
		if again := p.learn(time.Since(begun), err); !again {
			return err
		}
	}
}

// learn chooses the next size from what became of the last, and tells whether
// that is to be tried at once.
func (p *pace) learn(took time.Duration, err error) (again bool) {
	switch {
	case errors.Is(err, efs.ErrNoSpace) && p.steps > paceLeast:
		p.steps = max(p.steps/2, paceLeast)
		return true
	case err == nil && took < paceQuick:
		p.steps = min(2*p.steps, paceMost)
	case err == nil && took > paceSlow:
		p.steps = max(p.steps/2, paceLeast)
	}
	return false
}
