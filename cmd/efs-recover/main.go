// Command efs-recover reads what EFS stored, without a server: archives that
// efs tar made, and whole file systems from the volume that they lie on.
//
// It exits with 0 if everything came out, 1 if something is missing, which it
// lists, and 2 if it could not do its work or was not understood.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/efs-project/efs/internal/manual"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/secret"
)

// Exit codes.
const (
	exitOK      = 0
	exitMissing = 1
	exitFailure = 2
)

// errMissing: everything else came out, and what did not has been listed.
var errMissing = errors.New("something is missing")

// usageError is an error in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := secret.Harden(); err != nil {
		fmt.Fprintln(os.Stderr, "efs-recover:", plain.PrintableLines(os.Stderr, plain.Error(err)))
		return exitFailure
	}
	defer secret.Purge()
	cmd := newRoot()
	manual.Attach(cmd, 1, os.Args[1:])
	err := cmd.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errMissing):
		return exitMissing
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "efs-recover: interrupted: what was written so far is not whole")
	default:
		fmt.Fprintln(os.Stderr, "efs-recover:", plain.PrintableLines(os.Stderr, plain.Error(err)))
		if errors.As(err, &usage) {
			fmt.Fprintln(os.Stderr, "See `efs-recover --help`.")
		}
	}
	return exitFailure
}
