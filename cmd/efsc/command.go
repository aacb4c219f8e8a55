package main

import (
	"context"
	"fmt"
	"strings"
)

// command is something that can be typed at the prompt.
type command struct {
	name, usage, short string
	long, example      string // for `help NAME`; long may be empty
	flags              []flag
	min, max           int    // number of words that are no flags
	kinds              []kind // of the words, for completion; the last one stands for all that follow
	raw                bool   // takes its flags itself
	run                func(s *shell, ctx context.Context, c *call) error
}

// flag is a switch of a command.
type flag struct {
	letter rune // 0: none
	name   string
	help   string
}

// call is a command line, understood.
type call struct {
	cmd   *command
	set   map[string]bool // flags, by their names
	words []word
}

// anyNumber of words.
const anyNumber = 1 << 20

func find(name string) *command {
	for i := range commands {
		if commands[i].name == name {
			return &commands[i]
		}
	}
	return nil
}

// parse takes the flags out of a line. `--` ends them.
func (cmd *command) parse(words []word) (*call, error) {
	c := &call{cmd: cmd, set: map[string]bool{}}
	for i, w := range words {
		if cmd.raw || len(w.text) < 2 || w.text[0] != '-' {
			c.words = append(c.words, w)
			continue
		}
		if w.text == "--" {
			c.words = append(c.words, words[i+1:]...)
			break
		}
		if err := c.flag(w.text); err != nil {
			return nil, err
		}
	}
	if len(c.words) < cmd.min || len(c.words) > cmd.max {
		return nil, usagef("usage: %s", cmd.usage)
	}
	return c, nil
}

// flag takes -abc or --name.
func (c *call) flag(text string) error {
	if name, long := strings.CutPrefix(text, "--"); long {
		for _, f := range c.cmd.flags {
			if f.name == name {
				c.set[name] = true
				return nil
			}
		}
		return c.unknown(text)
	}
next:
	for _, letter := range text[1:] {
		for _, f := range c.cmd.flags {
			if f.letter == letter {
				c.set[f.name] = true
				continue next
			}
		}
		return c.unknown("-" + string(letter))
	}
	return nil
}

func (c *call) unknown(flag string) error {
	return usagef("%s does not know %q (`help %s`; a name that begins with - is written ./-…)", c.cmd.name, flag, c.cmd.name)
}

// text returns a word, "" where there is none.
func (c *call) text(i int) string {
	if i < len(c.words) {
		return c.words[i].text
	}
	return ""
}

func (f *flag) String() string {
	if f.letter == 0 {
		return "    --" + f.name
	}
	return fmt.Sprintf("-%c, --%s", f.letter, f.name)
}
