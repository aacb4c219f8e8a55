package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/chzyer/readline"
	"golang.org/x/term"
)

// input is where commands and posted contents come from.
type input interface {
	command(prompt string) (string, error)  // the next command line
	answer(question string) (string, error) // to a question
	contents() (io.Reader, error)           // all that comes, to the end of the input
	line() (string, error)                  // one line of contents, with its newline
	close()
}

// errInterrupted is Ctrl-C at the prompt.
var errInterrupted = errors.New("interrupted")

func (s *shell) newInput(in *os.File, historyFile string) (input, error) {
	if !s.interactive {
		return &script{bufio.NewReader(in), s.out}, nil
	}
	state, err := term.GetState(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	var kept *history
	if historyFile != "" {
		if kept, err = openHistory(historyFile); err != nil {
			return nil, err
		}
	}
	// What the editor has not been asked for stays in the terminal, for typed.
	keys := readline.NewCancelableStdin(bytewise{in})
	rl, err := readline.NewEx(&readline.Config{
		Prompt:                 "efs> ",
		DisableAutoSaveHistory: true, // contents that are pasted are nobody's history
		AutoComplete:           &completer{s: s},
		HistoryLimit:           maxHistory,
		HistorySearchFold:      true,
		InterruptPrompt:        "^C",
		EOFPrompt:              " ",
		Stdin:                  keys,
	})
	if err != nil {
		kept.close()
		return nil, err
	}
	if kept != nil {
		for _, line := range kept.lines {
			_ = rl.SaveHistory(line) // in memory, which cannot fail
		}
	}
	return &prompt{rl, typed{in, s.out}, keys, state, kept}, nil
}

// script reads commands from what is no terminal, and shows no prompts.
type script struct {
	*bufio.Reader
	out io.Writer
}

func (s *script) command(string) (string, error) {
	l, err := s.ReadString('\n')
	if err == io.EOF && l != "" {
		err = nil
	}
	return strings.TrimRight(l, "\r\n"), err
}

func (s *script) answer(question string) (string, error) {
	if _, err := io.WriteString(s.out, question+"\n"); err != nil {
		return "", err
	}
	return s.command("")
}

func (s *script) contents() (io.Reader, error) { return s.Reader, nil }
func (s *script) line() (string, error)        { return s.ReadString('\n') }
func (s *script) close()                       {}

// prompt reads from a person, with editing and a history that ends with the
// process and holds commands alone.
type prompt struct {
	*readline.Instance
	typed
	keys  io.Closer   // what the editor reads from
	state *term.State // of the terminal, as it was found
	kept  *history    // nil: none
}

func (p *prompt) command(prompt string) (string, error) {
	p.SetPrompt(prompt)
	l, err := p.Readline()
	if errors.Is(err, readline.ErrInterrupt) {
		return "", errInterrupted
	}
	if err == nil && strings.TrimSpace(l) != "" && l[0] != ' ' { // as shells have it: what begins with a space is not kept
		_ = p.SaveHistory(l) // in memory, which cannot fail
		err = p.kept.remember(l)
	}
	return l, err
}

func (p *prompt) answer(question string) (string, error) {
	p.SetPrompt(question)
	l, err := p.Readline()
	if errors.Is(err, readline.ErrInterrupt) || errors.Is(err, io.EOF) {
		return "", nil // no answer is no
	}
	return l, err
}

// close gives the terminal back as it was found, also where a signal ended a
// read half-way. It can fail only where the terminal is gone. The editor's own
// Close would wait for a reader that may not have begun, which is a race.
func (p *prompt) close() {
	p.kept.close()
	_ = p.keys.Close()
	_ = term.Restore(int(p.in.Fd()), p.state)
}
