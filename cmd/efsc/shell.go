package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

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
	colour      bool // names are coloured
	exitOnError bool // a script ends at its first failure

	dir, lastDir string // where relative paths begin in the file system; absolute
	localDir     string // where relative local paths begin; "": where efsc was started

	failed  bool // a command of a script did
	stopped bool
}

// run takes commands until stop, the end of the input, or a signal.
func (s *shell) run() error {
	for !s.stopped && s.ctx.Err() == nil {
		line, err := await(s.ctx, func() (string, error) { return s.in.command(s.prompt()) })
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

// maxPrompt is how much of the directory the prompt shows, in characters.
const maxPrompt = 30

// prompt is `efs>`, with the directory before it where that is not the root.
func (s *shell) prompt() string {
	if s.dir == "/" {
		return "efs> "
	}
	dir := []rune(plain.Safe(s.dir))
	if len(dir) > maxPrompt {
		dir = append([]rune("…"), dir[len(dir)-maxPrompt:]...)
	}
	return string(dir) + " efs> "
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
	if whereWeRun() == mainProcess {
		<-s.ctx.Done()
	}
	s.stopped = true
}

// errTold is a failure that has been told already.
var errTold = errors.New("failed")

// perform runs one line and tells of its failure. Ctrl-C ends the command, not
// the shell; a script, it ends.
func (s *shell) perform(line string) {
	words, err := split(line)
	if err == nil && len(words) == 0 {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(s.ctx, os.Interrupt)
		err = s.dispatch(ctx, words)
		if err != nil && ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		stop()
	}
	if err == nil {
		return
	}
	s.failed = true
	s.stopped = s.stopped || s.exitOnError && !s.interactive
	if !errors.Is(err, errTold) {
		s.tell(err)
	}
}

func (s *shell) tell(err error) {
	fmt.Fprintln(s.errs, "efsc:", plain.Printable(s.errs, plain.Error(err)))
}

func (s *shell) dispatch(ctx context.Context, words []word) error {
	cmd := find(words[0].text)
	if cmd == nil {
		return usagef("there is no command %q; `help` lists them", words[0].text)
	}
	c, err := cmd.parse(words[1:])
	if err != nil {
		return err
	}
	return cmd.run(s, ctx, c)
}

// each does something to each path, goes on after failures and tells of each.
func (s *shell) each(ctx context.Context, paths []string, do func(path string) error) error {
	var failed error
	for _, path := range paths {
		err := do(path)
		if err == nil {
			continue
		}
		if len(paths) == 1 || ctx.Err() != nil {
			return err
		}
		s.tell(err)
		failed = errTold
	}
	return failed
}
