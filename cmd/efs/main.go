// Command efs copies files to and from EFS file systems and manages what is
// there.
//
// It exits with 0 if all was done, 1 if something failed, and 2 if it was not
// understood.
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
	"github.com/efs-project/efs/internal/transfer"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := newApp()
	defer a.close()
	cmd := newRoot(a)
	manual.Attach(cmd, 1, os.Args[1:])
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "efs: interrupted")
	default:
		fmt.Fprintln(os.Stderr, "efs:", plain.PrintableLines(os.Stderr, plain.Error(err)))
	}
	if errors.Is(err, transfer.ErrUsage) {
		return exitUsage
	}
	return exitFailure
}

// errReported ends a command whose failures have been told one by one.
var errReported = errors.New("failed")
