// Command efs-server serves encrypted file systems over HTTPS.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/manual"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/version"
	"github.com/spf13/cobra"
)

// The exit codes. Supervisors that restart a server should not do so after
// exitUsage and exitWrongKey: another start ends in the same way.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2 // flags, variables or configuration file
	exitWrongKey = 3 // the starter key does not fit the root
)

// usageError is an error in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	defer secret.Purge()
	cmd := rootCommand()
	manual.Attach(cmd, 8, args)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintln(os.Stderr, "efs-server: "+plain.Error(err))
	return exitCode(err)
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case errors.Is(err, efs.ErrWrongKey):
		return exitWrongKey
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "See `efs-server --help`.")
		return exitUsage
	}
	return exitFailure
}

func rootCommand() *cobra.Command {
	cmd := serveCommand()
	cmd.AddCommand(configCommand(), keygenCommand(), healthcheckCommand(), versionCommand())
	cmd.Version = version.String()
	cmd.SetVersionTemplate("efs-server {{.Version}}\n")
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return cmd
}

// noArgs refuses arguments with an error of usage.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command or argument %q", args[0])}
	}
	return nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  efs-server version",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "efs-server "+version.String())
			return err
		},
	}
}
