package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/plain"
)

// shell is one session at the prompt or from a script.
type shell struct {
	ctx         context.Context
	client      *client.Client
	in          input
	out, errs   io.Writer
	cache       cache
	interactive bool

	failed  bool // a command of a script did
	stopped bool
}

// run takes commands until stop, the end of the input, or a signal.
func (s *shell) run() error {
	for !s.stopped && s.ctx.Err() == nil {
		line, err := await(s.ctx, s.in.command)
		switch {
		case errors.Is(err, errInterrupted):
			continue
		case errors.Is(err, io.EOF):
			s.endOfInput()
			continue
		case err != nil:
			return fmt.Errorf("reading commands: %w", err)
		}
		s.perform(line)
	}
	if s.failed && !s.interactive {
		return errReported
	}
	return nil
}

// await runs a read that nothing can interrupt. It leaves it behind when ctx
// ends, which is when the process does.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := read()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return *new(T), io.EOF
	}
}

// endOfInput ends the shell, except as the main process of a container: that
// stays, for others to enter, until it is told to stop.
func (s *shell) endOfInput() {
	if inContainer() && os.Getpid() == 1 {
		<-s.ctx.Done()
	}
	s.stopped = true
}

// perform runs one line and tells of its failure. Ctrl-C ends the command, not
// the shell.
func (s *shell) perform(line string) {
	words, err := split(line)
	if err == nil && len(words) == 0 {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(s.ctx, os.Interrupt)
		err = s.dispatch(ctx, words)
		stop()
	}
	if err != nil {
		s.failed = true
		fmt.Fprintln(s.errs, "efsc:", plain.Error(err))
	}
}

func (s *shell) dispatch(ctx context.Context, words []string) error {
	cmd := find(words[0])
	if cmd == nil {
		return usageError{fmt.Errorf("there is no command %q; `help` lists them", words[0])}
	}
	args := words[1:]
	if len(args) < cmd.min || len(args) > cmd.max {
		return usageError{fmt.Errorf("usage: %s", cmd.usage)}
	}
	return cmd.run(s, ctx, args)
}

// command is something that can be typed at the prompt.
type command struct {
	name, usage, help string
	min, max          int // number of arguments
	run               func(s *shell, ctx context.Context, args []string) error
}

func find(name string) *command {
	for i := range commands {
		if commands[i].name == name {
			return &commands[i]
		}
	}
	return nil
}

// split takes a line apart into words as shells do: 'as it is', "with \" in
// it", back\ slash. A line that begins with # is a comment.
func split(line string) ([]string, error) {
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		return nil, nil
	}
	var words []string
	var word strings.Builder
	open, quote, escaped := false, rune(0), false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			open, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			open, quote = true, r
		case r == ' ' || r == '\t' || r == '\r':
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		default:
			open = true
			word.WriteRune(r)
		}
	}
	if quote != 0 || escaped {
		return nil, usageError{errors.New("a quote is not closed, or the line ends in a backslash")}
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}
