package main

import (
	"fmt"
	"path"
	"strings"
)

// word is one word of a command line.
type word struct {
	text    string
	pattern string // text, with what was quoted kept from meaning anything to path.Match
	glob    bool   // pattern has an unquoted *, ? or [ in it
	home    bool   // begins with an unquoted ~ that stands for the home directory
	here    bool   // begins with an unquoted <<
}

// ending is how a line ends, for completion.
type ending struct {
	open    bool // in a word
	quote   rune // in quotes, 0: in none
	escaped bool // behind a backslash
	raw     int  // where the last word begins, in bytes
}

// split takes a line apart into words as shells do: 'as it is', "with \" in
// it", back\ slash, # comment (POSIX.1-2024, Shell Command Language, 2.2).
func split(line string) ([]word, error) {
	words, end, err := scan(line)
	if err == nil && (end.quote != 0 || end.escaped) {
		err = usagef("a quote is not closed, or the line ends in a backslash")
	}
	return words, err
}

// scan is split for a line that may not be at its end.
func scan(line string) ([]word, ending, error) {
	var words []word
	var w word
	var text, pattern strings.Builder
	var end ending
	done := func() {
		if end.open {
			w.text, w.pattern = text.String(), pattern.String()
			w.home = w.home && (w.text == "~" || strings.HasPrefix(w.text, "~/"))
			w.here = w.here && strings.HasPrefix(w.text, "<<")
			if _, err := path.Match(w.pattern, ""); err != nil {
				w.glob = false // as shells take [ without its ]
			}
			words = append(words, w)
		}
	}
	literal := func(r rune) {
		text.WriteRune(r)
		if strings.ContainsRune(`*?[\`, r) {
			pattern.WriteByte('\\')
		}
		pattern.WriteRune(r)
	}
	begin := func(at int) {
		if !end.open {
			end.open, end.raw = true, at
		}
	}
	for i, r := range line {
		switch {
		case end.escaped:
			if end.quote == '"' && r != '"' && r != '\\' && r != '$' && r != '`' {
				literal('\\')
			}
			literal(r)
			end.escaped = false
		case r == '\\' && end.quote != '\'':
			begin(i)
			end.escaped = true
		case end.quote != 0 && r == end.quote:
			end.quote = 0
		case end.quote != 0:
			literal(r)
		case r == '\'' || r == '"':
			begin(i)
			end.quote = r
		case r == ' ' || r == '\t' || r == '\r':
			done()
			w, end = word{}, ending{}
			text.Reset()
			pattern.Reset()
		case r == '#' && !end.open:
			return words, ending{}, nil
		case strings.ContainsRune("|&;<>", r) && !isHere(line[i:], w.here && text.String() == "<", end.open):
			return nil, end, usagef("efsc has no %q: quote it where it belongs to a name; `get PATH FILE` writes to a file", string(r))
		default:
			if !end.open {
				w.home, w.here = r == '~', r == '<'
			}
			begin(i)
			w.glob = w.glob || strings.ContainsRune("*?[", r)
			text.WriteRune(r)
			if p := pattern.String(); r == '!' && strings.HasSuffix(p, "[") && !strings.HasSuffix(p, `\[`) {
				r = '^' // as path.Match has it
			}
			pattern.WriteRune(r)
		}
	}
	done()
	if !end.open {
		end.raw = len(line)
	}
	return words, end, nil
}

// isHere lets the << of `post PATH <<WORD` pass.
func isHere(rest string, second, open bool) bool {
	return !open && strings.HasPrefix(rest, "<<") && !strings.HasPrefix(rest, "<<<") || second && rest[0] == '<'
}

// special are the characters that mean something to shells, some of them to
// this one alone.
const special = " \t'\"\\|&;<>*?[]#~$`(){}!"

// quoted writes a text so that split gives it back.
func quoted(text string) string {
	if text != "" && !strings.ContainsAny(text, special) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// continued writes what is to follow in a word that stands in quotes, or in
// none.
func continued(text string, quote rune) string {
	switch quote {
	case '\'':
		return strings.ReplaceAll(text, "'", `'\''`)
	case '"':
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(text)
	}
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(special, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
