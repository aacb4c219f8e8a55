package fsys

import (
	"fmt"
	"strings"

	"github.com/efs-project/efs"
)

// anySegment stands, in a UnitPattern, for any one name.
const anySegment = "*"

// UnitPattern says which directories are erasure units: those whose path
// matches it, segment by segment. The zero pattern matches none.
type UnitPattern struct{ segs []string }

// ParseUnitPattern reads a policy's erasure_unit: an absolute path of which
// each segment is a name or "*", which stands for any one name, as in
// "/patients/*" or "/wards/*/patients/*". "" is the zero pattern.
// efs.ErrBadInput for anything else: the root cannot be a unit, and a star is
// a whole segment.
func ParseUnitPattern(s string) (UnitPattern, error) {
	bad := func(why string) (UnitPattern, error) {
		return UnitPattern{}, fmt.Errorf("%w: erasure unit '%s': %s, such as '/patients/*'", efs.ErrBadInput, s, why)
	}
	if s == "" {
		return UnitPattern{}, nil
	}
	if !strings.HasPrefix(s, "/") {
		return bad("the pattern must be an absolute path")
	}
	segs, err := ParsePath(s)
	if err != nil {
		return bad(fmt.Sprintf("%v; the pattern must be a path", err))
	}
	if len(segs) == 0 {
		return bad("the root cannot be forgotten; the pattern must name directories below it")
	}
	for _, seg := range segs {
		if seg != anySegment && strings.Contains(seg, anySegment) {
			return bad(fmt.Sprintf("'*' stands for a whole name and cannot be part of '%s'; the pattern must be made of names and '*'", seg))
		}
	}
	return UnitPattern{segs}, nil
}

// IsZero reports whether the pattern matches nothing.
func (p UnitPattern) IsZero() bool { return len(p.segs) == 0 }

// String is what ParseUnitPattern reads.
func (p UnitPattern) String() string {
	if p.IsZero() {
		return ""
	}
	return "/" + join(p.segs)
}

// Match reports whether a directory with these segments is an erasure unit.
func (p UnitPattern) Match(segs []string) bool {
	return !p.IsZero() && len(segs) == len(p.segs) && p.leads(segs)
}

// Above reports whether directories below one with these segments may be
// erasure units.
func (p UnitPattern) Above(segs []string) bool {
	return len(segs) < len(p.segs) && p.leads(segs)
}

// leads reports whether the pattern begins with what matches segs, which are
// no more than it has.
func (p UnitPattern) leads(segs []string) bool {
	for i, seg := range segs {
		if p.segs[i] != anySegment && p.segs[i] != seg {
			return false
		}
	}
	return true
}
