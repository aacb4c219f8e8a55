package plain

import "testing"

func TestNamesCannotDeceive(t *testing.T) {
	for s, want := range map[string][2]string{
		"a b.txt":            {"a b.txt", "a b.txt"},
		"ü\u65e5":            {"ü\u65e5", "ü\u65e5"},
		"a\x1b[2Jb\nmissing": {"a?[2Jb?missing", `a\x1b[2Jb\nmissing`},
		"evil\u202etxt.exe":  {"evil?txt.exe", `evil\u202etxt.exe`},
		`a\x1b`:              {`a\x1b`, `a\\x1b`},
		"\u009b2J":           {"?2J", `\u009b2J`},
	} {
		if got := [2]string{Safe(s), Escaped(s)}; got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
