// Package browse shows what is in a file system to people: names that cannot
// deceive a terminal, trees, sizes of directories.
package browse

import (
	"fmt"
	"io"
	"os"
	"strings"

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
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

// IsTerminal reports whether out is a terminal.
func IsTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Count is n with the noun that fits it.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
