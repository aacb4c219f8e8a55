// Command efsctl administers a running EFS server through the admin socket in
// its root.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/manual"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/version"
	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitOK       = 0
	exitFailure  = 1 // the command failed; for fsck: problems were found
	exitUsage    = 2 // wrong usage; for fsck also: the check could not run
	exitNoServer = 4 // no server runs on the root
)

const defaultRoot = "/efs"

// usageError is an error in how a command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// codedError is an error with an exit code of its own.
type codedError struct {
	error
	code int
}

func (e codedError) Unwrap() error { return e.error }

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cmd := rootCommand()
	manual.Attach(cmd, 8, args)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if text := plain.Error(err); errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "efsctl: interrupted")
	} else if text != "" {
		fmt.Fprintln(os.Stderr, "efsctl: "+text)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var usage usageError
	var coded codedError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "See `efsctl --help`.")
		return exitUsage
	case errors.Is(err, admin.ErrNoServer):
		return exitNoServer
	}
	return exitFailure
}

// ctl is what every command has: the root and where output goes.
type ctl struct {
	root string
	json bool
}

const rootLong = `efsctl administers a running EFS server through the admin socket in its root.
It works for the user that the server runs as, and for root; in a container:

  docker exec efs-server efsctl status
  docker exec -i efs-server efsctl create-user app1 --fs user-data < app1.asc

Exit codes: 0 done, 1 failed (fsck: problems found), 2 wrong usage (fsck: could
not run), 4 no server runs on the root.`

func rootCommand() *cobra.Command {
	c := &ctl{}
	cmd := &cobra.Command{
		Use:   "efsctl",
		Short: "Administer a running EFS server",
		Long:  rootLong,
		Example: `  efsctl status
  efsctl create-fs user-data
  efsctl create-user app1 --fs user-data --key app1.asc --out ./app1
  efsctl fsck user-data --deep`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{unknownCommand(cmd, args[0])}
			}
			return nil
		},
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
	}
	cmd.SetVersionTemplate("efsctl {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root := os.Getenv("EFS_ROOT")
	if root == "" {
		root = defaultRoot
	}
	cmd.PersistentFlags().StringVar(&c.root, "root", root, "root of the server (or EFS_ROOT)")
	c.addGroups(cmd)
	return cmd
}

// unknownCommand says what may have been meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return fmt.Errorf("unknown command %q: did you mean %s?", name, strings.Join(near, " or "))
	}
	return fmt.Errorf("unknown command %q", name)
}

// client returns a client whose lines go to the command's output, or beside it
// where that is JSON.
func (c *ctl) client(cmd *cobra.Command) *admin.Client {
	client := admin.NewClient(c.root)
	client.Line = func(line string) {
		if c.json {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), line) // see printLine
			return
		}
		printLine(cmd, line)
	}
	return client
}

func printLine(cmd *cobra.Command, line string) {
	// A reader that went away does not stop what the server is doing.
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), line)
}

// args demands names in place, each an argument.
func args(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		switch {
		case len(given) < len(names):
			return usageError{fmt.Errorf("%s: %s is missing: %s", cmd.Name(), names[len(given)], usage(cmd))}
		case len(given) > len(names):
			return usageError{fmt.Errorf("%s: unexpected argument %q: %s", cmd.Name(), given[len(names)], usage(cmd))}
		}
		return nil
	}
}

// usage is how a command is called, from efsctl on.
func usage(cmd *cobra.Command) string {
	return cmd.CommandPath() + strings.TrimPrefix(cmd.Use, cmd.Name())
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  efsctl version",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "efsctl "+version.String())
			return err
		},
	}
}
