// Command efs-bench measures how fast an EFS file system stores and reads
// files from where it is run.
//
// It exits with 0 if every request was done, 1 if something failed or was
// interrupted, and 2 if it was not understood.
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
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is an error in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := newRoot()
	manual.Attach(cmd, 1, os.Args[1:])
	err := cmd.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "efs-bench: interrupted")
	default:
		fmt.Fprintln(os.Stderr, "efs-bench:", plain.Error(err))
	}
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}
