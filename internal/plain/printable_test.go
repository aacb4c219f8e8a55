package plain

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

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

func TestJSONHoldsNothingThatATerminalObeys(t *testing.T) {
	want := map[string]string{"a\u009b2J\x7f": "\u202eé\u2066 \x1b\"\\", "plain": "é"}
	for _, indent := range []string{"", "  "} {
		var b bytes.Buffer
		if err := JSON(&b, want, indent); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(strings.ReplaceAll(b.String(), "\n", ""), deceives) || !strings.Contains(b.String(), "é") {
			t.Errorf("%q", b.String())
		}
		var got map[string]string
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || !maps.Equal(got, want) {
			t.Errorf("%q, %v", got, err)
		}
	}
}
