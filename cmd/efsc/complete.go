package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chzyer/readline"
	"golang.org/x/term"
)

// kind is what a word of a command is, for completion.
type kind int

const (
	aRemote kind = iota
	aRemoteDir
	aLocal
	aLocalDir
	aCommand
)

// completer offers command names, flags, and paths after them.
type completer struct {
	s    *shell
	last listing
}

// candidate is what a word may become.
type candidate struct {
	text string
	dir  bool // goes on
}

// listing is what begins with a prefix in a directory, remembered between two
// keys.
type listing struct {
	dir, prefix string
	found       []candidate // by name
	at          time.Time
}

// Bounds of a completion: how long a person waits, how much is offered, and
// for how long the answer serves while typing goes on.
const (
	completionTime = 3 * time.Second
	maxCompletions = 200
	completionAge  = 5 * time.Second
)

// Do returns what may follow the word before pos, and the length of the part
// of it that is shown before each.
func (c *completer) Do(line []rune, pos int) (rest [][]rune, length int) {
	typed := string(line[:pos])
	words, end, err := scan(typed)
	if err != nil || end.escaped {
		return nil, 0
	}
	var word word
	if end.open {
		word, words = words[len(words)-1], words[:len(words)-1]
	}
	for _, found := range c.offers(words, word) {
		more := continued(strings.TrimPrefix(found.text, word.text), end.quote)
		if !found.dir {
			if end.quote != 0 {
				more += string(end.quote)
			}
			more += " "
		}
		rest = append(rest, []rune(more))
	}
	raw := typed[end.raw:]
	return fitting(rest, utf8.RuneCountInString(raw[strings.LastIndexByte(raw, '/')+1:]))
}

// fitting leaves lists that are too wide for the terminal, which the editor
// cannot show, at what all have in common.
func fitting(rest [][]rune, length int) ([][]rune, int) {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	tooWide := func(r []rune) bool { return readline.Runes{}.WidthAll(r)+length+2 > width }
	if err != nil || len(rest) < 2 || !slices.ContainsFunc(rest, tooWide) {
		return rest, length
	}
	common := rest[0]
	for _, r := range rest[1:] {
		n := 0
		for n < len(common) && n < len(r) && common[n] == r[n] {
			n++
		}
		common = common[:n]
	}
	if len(common) == 0 {
		return nil, 0
	}
	return [][]rune{common}, length
}

// offers returns what a word behind others may become.
func (c *completer) offers(words []word, w word) []candidate {
	if len(words) == 0 {
		return commandNames(w.text)
	}
	cmd := find(words[0].text)
	switch {
	case cmd == nil:
		return nil
	case strings.HasPrefix(w.text, "-"):
		return flagNames(cmd, w.text)
	case len(cmd.kinds) == 0:
		return nil
	}
	at := 0
	for _, before := range words[1:] {
		if !strings.HasPrefix(before.text, "-") {
			at++
		}
	}
	switch kind := cmd.kinds[min(at, len(cmd.kinds)-1)]; kind {
	case aCommand:
		return commandNames(w.text)
	case aLocal, aLocalDir:
		return c.localPaths(w, kind == aLocalDir)
	default:
		return c.remotePaths(w.text, kind == aRemoteDir)
	}
}

func commandNames(prefix string) (names []candidate) {
	for _, cmd := range commands {
		if strings.HasPrefix(cmd.name, prefix) {
			names = append(names, candidate{text: cmd.name})
		}
	}
	return names
}

func flagNames(cmd *command, prefix string) (names []candidate) {
	for _, f := range cmd.flags {
		if name := "--" + f.name; strings.HasPrefix(name, prefix) {
			names = append(names, candidate{text: name})
		}
	}
	if cmd.raw {
		for name := range findTests {
			if strings.HasPrefix(name, prefix) {
				names = append(names, candidate{text: name})
			}
		}
		slices.SortFunc(names, func(a, b candidate) int { return strings.Compare(a.text, b.text) })
	}
	return names
}

// remotePaths lists what begins like word.
func (c *completer) remotePaths(word string, dirsOnly bool) (paths []candidate) {
	cut := strings.LastIndexByte(word, '/') + 1
	for _, found := range c.list(c.s.absolute(word[:cut]), word[cut:]) {
		if strings.HasPrefix(found.text, word[cut:]) && (found.dir || !dirsOnly) {
			found.text = word[:cut] + found.text
			paths = append(paths, found)
		}
	}
	return paths
}

// list asks the server, or remembers. Directories come with their slash.
// Names that would deceive a terminal are left to be found by others.
func (c *completer) list(dir, prefix string) []candidate {
	l := &c.last
	if l.dir == dir && strings.HasPrefix(prefix, l.prefix) && len(l.found) < maxCompletions && time.Since(l.at) < completionAge {
		return l.found
	}
	ctx, cancel := context.WithTimeout(c.s.ctx, completionTime)
	defer cancel()
	*l = listing{dir: dir, prefix: prefix, at: time.Now()}
	for e, err := range c.s.beginning(ctx, dir, prefix) {
		if err != nil || len(l.found) >= maxCompletions {
			break
		}
		if hidden(e.Name, prefix) {
			continue
		}
		found := candidate{text: e.Name, dir: e.IsDir()}
		if found.dir {
			found.text += "/"
		}
		l.found = append(l.found, found)
	}
	return l.found
}

// hidden reports whether a name is not to be offered: what begins with a dot,
// until the dot is typed, and what cannot be shown.
func hidden(name, prefix string) bool {
	return name[0] == '.' && !strings.HasPrefix(prefix, ".") ||
		!utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// localPaths lists what on this machine begins like w.
func (c *completer) localPaths(w word, dirsOnly bool) (paths []candidate) {
	cut := strings.LastIndexByte(w.text, '/') + 1
	dir, err := c.s.local(word{text: w.text[:cut], home: w.home && cut > 0})
	if err != nil {
		return nil
	}
	entries, _ := os.ReadDir(orElse(dir, ".")) // what cannot be read offers nothing
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), w.text[cut:]) || hidden(e.Name(), w.text[cut:]) || len(paths) >= maxCompletions {
			continue
		}
		isDir := e.IsDir()
		if e.Type()&os.ModeSymlink != 0 {
			fi, err := os.Stat(filepath.Join(dir, e.Name()))
			isDir = err == nil && fi.IsDir()
		}
		found := candidate{text: w.text[:cut] + e.Name(), dir: isDir}
		if isDir {
			found.text += "/"
		}
		if isDir || !dirsOnly {
			paths = append(paths, found)
		}
	}
	return paths
}
