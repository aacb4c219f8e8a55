package treesync

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Filter chooses paths by patterns as gitignore(5) has them: the last that
// fits decides, "!" takes back, a slash at the end means directories only, one
// elsewhere ties the pattern to the root, "**" crosses directories. What is in
// a directory that is left out is not looked at.
type Filter struct{ rules []rule }

type rule struct {
	re      *regexp.Regexp
	include bool
	dirOnly bool
	rooted  bool // compared with the whole path, else with the last name
}

// Add appends one line of a gitignore file. Blank lines and comments add
// nothing.
func (f *Filter) Add(line string) error {
	p := trimBlanks(strings.TrimSuffix(line, "\r"))
	if p == "" || p[0] == '#' {
		return nil
	}
	var r rule
	if p[0] == '!' {
		r.include, p = true, p[1:]
	}
	if rest, ok := strings.CutSuffix(p, "/"); ok {
		r.dirOnly, p = true, rest
	}
	r.rooted = strings.Contains(p, "/")
	expr, err := translate(strings.TrimPrefix(p, "/"))
	if err != nil {
		return fmt.Errorf("the pattern %q: %w", line, err)
	}
	if r.re, err = regexp.Compile(expr); err != nil {
		return fmt.Errorf("the pattern %q cannot be understood: %w", line, err)
	}
	f.rules = append(f.rules, r)
	return nil
}

// Empty reports whether nothing is ever left out.
func (f *Filter) Empty() bool { return f == nil || len(f.rules) == 0 }

// Read adds the lines of a gitignore file.
func (f *Filter) Read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if err := f.Add(lines.Text()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}

// Excludes reports whether the filter leaves path out, given that it has not
// left out a directory above it.
func (f *Filter) Excludes(path string, dir bool) bool {
	if f == nil {
		return false
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	for i := len(f.rules) - 1; i >= 0; i-- {
		r := &f.rules[i]
		if r.dirOnly && !dir {
			continue
		}
		subject := name
		if r.rooted {
			subject = path
		}
		if r.re.MatchString(subject) {
			return !r.include
		}
	}
	return false
}

// ExcludesBelow is Excludes with the directories above path looked at too.
func (f *Filter) ExcludesBelow(path string, dir bool) bool {
	if f == nil || len(f.rules) == 0 {
		return false
	}
	for i := 0; i < len(path); i++ {
		if path[i] == '/' && f.Excludes(path[:i], true) {
			return true
		}
	}
	return f.Excludes(path, dir)
}

// trimBlanks removes blanks at the end, except one that a backslash protects.
func trimBlanks(s string) string {
	for strings.HasSuffix(s, " ") {
		t := s[:len(s)-1]
		if (len(t)-len(strings.TrimRight(t, `\`)))%2 == 1 {
			return s
		}
		s = t
	}
	return s
}

var manyStars = regexp.MustCompile(`\*{3,}`)

// translate turns a pattern without its slashes at the ends into a regular
// expression (RE2: no pattern takes more than linear time).
func translate(p string) (string, error) {
	p = manyStars.ReplaceAllString(p, "**")
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for i := 0; i < len(p); {
		switch rest := p[i:]; {
		case i == 0 && strings.HasPrefix(rest, "**/"):
			b.WriteString(`(?:.*/)?`)
			for i += 2; strings.HasPrefix(p[i:], "/**/"); i += 3 { // several are as good as one
			}
			i++
		case strings.HasPrefix(rest, "/**/"):
			b.WriteString(`/(?:.*/)?`)
			for ; strings.HasPrefix(p[i:], "/**/"); i += 3 {
			}
			i++
		case rest == "/**":
			b.WriteString(`/.+`)
			i = len(p)
		case i == 0 && rest == "**":
			b.WriteString(`.*`)
			i = len(p)
		case rest[0] == '*':
			b.WriteString(`[^/]*`)
			i++
		case rest[0] == '?':
			b.WriteString(`[^/]`)
			i++
		case rest[0] == '[':
			class, n, err := bracket(rest)
			if err != nil {
				return "", err
			}
			b.WriteString(class)
			i += n
		case rest[0] == '\\' && len(rest) == 1:
			return "", fmt.Errorf("it ends in a backslash that protects nothing")
		case rest[0] == '\\':
			n := i + 1
			i = n + runeLen(p[n:])
			b.WriteString(regexp.QuoteMeta(p[n:i]))
		default:
			n := i
			i += runeLen(rest)
			b.WriteString(regexp.QuoteMeta(p[n:i]))
		}
	}
	b.WriteString(`$`)
	return b.String(), nil
}

func runeLen(s string) int {
	for i := range s {
		if i > 0 {
			return i
		}
	}
	return len(s)
}

// bracket translates the bracket expression that s begins with, and returns
// its length. It never fits a slash.
func bracket(s string) (class string, n int, err error) {
	var b strings.Builder
	i, not := 1, false
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		not = true
		i++
	}
	for first := true; i < len(s) && (s[i] != ']' || first); first = false {
		if strings.HasPrefix(s[i:], "[:") {
			if end := strings.Index(s[i:], ":]"); end > 0 {
				b.WriteString(s[i : i+end+2])
				i += end + 2
				continue
			}
		}
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		if s[i] == '-' && !first && i+1 < len(s) && s[i+1] != ']' {
			b.WriteByte('-')
			i++
			continue
		}
		l := runeLen(s[i:])
		b.WriteString(escapeInClass(s[i : i+l]))
		i += l
	}
	if i >= len(s) {
		return "", 0, fmt.Errorf("a bracket is not closed")
	}
	if not {
		return "[^/" + b.String() + "]", i + 1, nil
	}
	return "[" + b.String() + "]", i + 1, nil
}

func escapeInClass(c string) string {
	if strings.ContainsAny(c, `\]^-[`) {
		return `\` + c
	}
	return c
}
