package main

import (
	"context"
	"strings"
	"time"

	"github.com/efs-project/efs/client"
)

// completer offers command names, and paths in the file system after them.
type completer struct{ s *shell }

// Bounds of a completion: how long a person waits, and how much is offered.
const (
	completionTime = 3 * time.Second
	maxCompletions = 200
)

// Do returns what may follow the word before pos, and the length of that word.
func (c completer) Do(line []rune, pos int) (rest [][]rune, length int) {
	typed := string(line[:pos])
	word := typed[strings.LastIndexByte(typed, ' ')+1:]
	offer := c.paths
	if word == typed {
		offer = commandNames
	}
	for _, found := range offer(word) {
		rest = append(rest, []rune(strings.TrimPrefix(found, word)))
	}
	return rest, len([]rune(word))
}

func commandNames(prefix string) (names []string) {
	for _, cmd := range commands {
		if strings.HasPrefix(cmd.name, prefix) {
			names = append(names, cmd.name+" ")
		}
	}
	return names
}

// paths lists what begins like word. Names that would need quoting are left
// to be typed.
func (c completer) paths(word string) (paths []string) {
	ctx, cancel := context.WithTimeout(c.s.ctx, completionTime)
	defer cancel()
	dir := word[:strings.LastIndexByte(word, '/')+1]
	for e, err := range c.s.client.List(ctx, dir, client.ListOptions{}) {
		if err != nil || len(paths) >= maxCompletions {
			break
		}
		path := dir + e.Name
		if e.IsDir() {
			path += "/"
		} else {
			path += " "
		}
		if strings.HasPrefix(path, word) && !strings.ContainsAny(e.Name, " '\"\\\t") {
			paths = append(paths, path)
		}
	}
	return paths
}
