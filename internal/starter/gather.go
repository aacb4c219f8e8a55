package starter

import (
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// Gathering collects shares of the starter key of one root, in memory. Its
// methods are not safe for concurrent use.
type Gathering struct {
	dir    string
	shares []*Share
}

// NewGathering collects shares for the Box in dir.
func NewGathering(dir string) *Gathering { return &Gathering{dir: dir} }

// Add takes one share and says how many there are and how many are needed.
// With the last of them it returns the key, which opens the root, and forgets
// the shares. A share that does not belong to the others is refused, and those
// before it stay: efs.ErrBadInput (unreadable), efs.ErrWrongKey (of another
// root or of an older key), efs.ErrExists (given before), efs.ErrConflict (not
// made together with those before). Shares that give no key that opens the root are all
// forgotten: efs.ErrWrongKey.
func (g *Gathering) Add(text []byte) (have, need int, key *secret.Key, err error) {
	s, err := ParseShare(text)
	if err != nil {
		return len(g.shares), g.need(), nil, err
	}
	if err := g.fits(s); err != nil {
		s.Destroy()
		return len(g.shares), g.need(), nil, err
	}
	g.shares = append(g.shares, s)
	have, need = len(g.shares), g.need()
	if have < need {
		return have, need, nil, nil
	}
	defer g.Reset()
	key, err = g.combine()
	return have, need, key, err
}

func (g *Gathering) need() int {
	if len(g.shares) == 0 {
		return 0
	}
	return g.shares[0].Threshold
}

// fits is nil if s may join the shares that are there.
func (g *Gathering) fits(s *Share) error {
	doc, err := readRoot(g.dir)
	if err != nil {
		return err
	}
	switch generation := doc.starter().Generation; {
	case s.Root != doc.Root:
		return fmt.Errorf("%w: share %d is of the root %s; this one is %s", efs.ErrWrongKey, s.Number, s.Root, doc.Root)
	case s.Generation != generation:
		return fmt.Errorf("%w: share %d is of starter key number %d of this root; the present one is number %d",
			efs.ErrWrongKey, s.Number, s.Generation, generation)
	}
	for _, other := range g.shares {
		if other.Set != s.Set || other.Threshold != s.Threshold {
			return fmt.Errorf("%w: share %d was not made together with the %d given before: "+
				"give one of theirs, or begin anew with `efsctl unseal --reset`", efs.ErrConflict, s.Number, len(g.shares))
		}
		if other.Number == s.Number {
			return fmt.Errorf("%w: share %d was given before: give another one", efs.ErrBadInput, s.Number)
		}
	}
	return nil
}

// combine returns the key if it is the root's.
func (g *Gathering) combine() (*secret.Key, error) {
	key, err := Combine(g.shares)
	if err != nil {
		return nil, err
	}
	doc, err := readRoot(g.dir)
	if err == nil && doc.fits(key, g.dir) != nil {
		err = fmt.Errorf("%w: these shares together do not give the key of this root: one of them is forged, "+
			"or they are of a key that never came into force; give other ones", efs.ErrWrongKey)
	}
	if err != nil {
		key.Destroy()
		return nil, err
	}
	return key, nil
}

// Have returns how many shares there are.
func (g *Gathering) Have() int { return len(g.shares) }

// Reset forgets all shares.
func (g *Gathering) Reset() {
	for _, s := range g.shares {
		s.Destroy()
	}
	g.shares = nil
}
