// Package prompt asks people on a terminal, in programs that handle Ctrl-C:
// there a read from the terminal goes on when the signal comes, and the
// program would seem to hang.
package prompt

import (
	"context"
	"os"

	"golang.org/x/term"
)

// Secret calls ask, which asks on the controlling terminal without echo. It
// returns ctx's error when ctx ends first, with the terminal as it was. The
// caller wipes the answer.
func Secret(ctx context.Context, ask func() ([]byte, error)) ([]byte, error) {
	return Read(ctx, ask, remember())
}

// Read calls read, which may wait for a person, and returns what it returns.
// When ctx ends first it calls abandon (nil: nothing) and returns ctx's error;
// read is then left waiting, for a program that is about to end.
func Read[T any](ctx context.Context, read func() (T, error), abandon func()) (T, error) {
	type answer struct {
		value T
		err   error
	}
	got := make(chan answer, 1)
	go func() {
		v, err := read()
		got <- answer{v, err}
	}()
	select {
	case a := <-got:
		return a.value, a.err
	case <-ctx.Done():
		if abandon != nil {
			abandon()
		}
		var none T
		return none, ctx.Err()
	}
}

// remember returns what puts the terminal back as it is now.
func remember() func() {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return func() {} // asking will fail, and say why
	}
	defer tty.Close()
	state, err := term.GetState(int(tty.Fd()))
	return func() {
		tty, openErr := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil || openErr != nil {
			return // no terminal any more
		}
		defer tty.Close()
		_ = term.Restore(int(tty.Fd()), state) // the terminal may be gone
		_, _ = tty.WriteString("\n")
	}
}
