package plain

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Printable replaces characters that a terminal would obey, or that would turn
// the direction of a text, by '?', where out is a terminal.
func Printable(out io.Writer, s string) string {
	if !IsTerminal(out) {
		return s
	}
	return Safe(s)
}

// PrintableLines is Printable of each line of a text.
func PrintableLines(out io.Writer, s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = Printable(out, lines[i])
	}
	return strings.Join(lines, "\n")
}

// Safe replaces characters that a terminal would obey, or that would turn the
// direction of a text, by '?'.
func Safe(s string) string {
	return strings.Map(func(r rune) rune {
		if deceives(r) {
			return '?'
		}
		return r
	}, s)
}

// Escaped writes them as Go does in a string, and so a text that stands in one
// line and tells what was there: for lists that are kept.
func Escaped(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return deceives(r) || r == '\\' }) {
		return s
	}
	q := fmt.Sprintf("%q", s)
	return q[1 : len(q)-1]
}

func deceives(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// IsTerminal reports whether out is a terminal.
func IsTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
