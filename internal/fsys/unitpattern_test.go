package fsys

import (
	"errors"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

func TestUnitPatternMatchesWholePaths(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		match, above  bool
	}{
		{"/patients/*", "patients/173", true, false},
		{"/patients/*", "patients", false, true},
		{"/patients/*", "", false, true},
		{"/patients/*", "patients/173/labs", false, false},
		{"/patients/*", "staff/173", false, false},
		{"/patients/*", "staff", false, false},
		{"/wards/*/patients/*", "wards/3/patients/173", true, false},
		{"/wards/*/patients/*", "wards/3", false, true},
		{"/wards/*/patients/*", "wards/3/staff/173", false, false},
		{"/secret", "secret", true, false},
		{"", "patients/173", false, false},
		{"", "", false, false},
	} {
		p, err := ParseUnitPattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		segs, err := ParsePath(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(segs); got != c.match {
			t.Errorf("%q matches %q: %t", c.pattern, c.path, got)
		}
		if got := p.Above(segs); got != c.above {
			t.Errorf("%q is above %q: %t", c.pattern, c.path, got)
		}
		if p.String() != c.pattern {
			t.Errorf("%q is written as %q", c.pattern, p)
		}
	}
}

func TestUnitPatternRefusesWhatIsNone(t *testing.T) {
	for _, s := range []string{"/", "patients/*", "*", "/patients/p*", "/patients//x", "/patients/..", "/a\x00/*", "/" + strings.Repeat("x", 256)} {
		if _, err := ParseUnitPattern(s); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%q: %v, want ErrBadInput", s, err)
		}
	}
}
