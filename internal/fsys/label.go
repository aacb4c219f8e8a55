package fsys

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/record"
)

// SealLabel seals a path for what is kept outside the index, such as an audit
// log: under the key of the erasure unit that it lies in, so that forgetting
// the unit reaches it, else under a key of the file system. Of a path that
// would lie in a unit that is not there only the part above it is kept,
// followed by "/…".
func (fs *FS) SealLabel(ctx context.Context, path string) ([]byte, error) {
	if !fs.anyUnits() && fs.policy.Load().ErasureUnit == "" && canonical(path) {
		return fs.sealer.SealLabel([]byte(path))
	}
	segs, err := ParsePath(path)
	if err != nil {
		return nil, err
	}
	var u *unit
	if len(segs) > 0 && fs.anyUnits() {
		if u, err = fs.unitOfPath(ctx, segs); err != nil {
			return nil, err
		}
	}
	label := join(segs)
	if u != nil {
		return u.rec.SealLabel([]byte(label))
	}
	p, err := ParseUnitPattern(fs.policy.Load().ErasureUnit)
	if err != nil {
		return nil, err
	}
	if n := len(p.segs); n > 0 && len(segs) >= n && p.Match(segs[:n]) {
		label = join(append(segs[:n-1:n-1], "…"))
	}
	return fs.sealer.SealLabel([]byte(label))
}

// canonical reports whether path is a path as join writes it, without taking
// it apart in memory: there is a label at every request.
func canonical(path string) bool {
	if len(path) > efs.MaxPath || !utf8.ValidString(path) {
		return false
	}
	for more := true; more; {
		var seg string
		if seg, path, more = strings.Cut(path, "/"); checkSegment(seg) != nil {
			return false
		}
	}
	return true
}

// unitsKnown tells whether a file system has erasure units, so that labels of
// those without, of which there is one at every request, need no look-up.
type unitsKnown struct {
	made  atomic.Bool // set before the first is made
	once  sync.Once
	found bool // when first asked
}

func (fs *FS) anyUnits() bool {
	k := &fs.unitsKnown
	if k.made.Load() {
		return true
	}
	k.once.Do(func() {
		keys, ok := fs.o.Keys.(interface{ HasUnits() (bool, error) })
		if !ok {
			k.found = true // it has to be looked for
			return
		}
		has, err := keys.HasUnits()
		k.found = has || err != nil
	})
	return k.found
}

// unitOfPath returns the unit that what is at segs belongs to, or would.
func (fs *FS) unitOfPath(ctx context.Context, segs []string) (*unit, error) {
	s, err := fs.locate(ctx, segs)
	if errors.Is(err, efs.ErrNotDir) { // below a file: what counts is where that lies
		return fs.unitOfPath(ctx, segs[:len(segs)-1])
	}
	if err != nil {
		return nil, err
	}
	return s.unitOf(), nil
}

// OpenLabel returns the path that SealLabel sealed. efs.ErrForgotten if it lay
// in an erasure unit that has been forgotten.
func (fs *FS) OpenLabel(_ context.Context, sealed []byte) (string, error) {
	if err := fs.ready(); err != nil {
		return "", err
	}
	open := fs.sealer.OpenLabel
	if tag, ok := record.UnitTag(sealed); ok {
		u, err := fs.unitByTag(tag)
		if err != nil {
			return "", fmt.Errorf("opening a label: %w", err)
		}
		open = u.rec.OpenLabel
	}
	b, err := open(sealed)
	return string(b), err
}
