package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs/internal/transfer"
	"github.com/efs-project/efs/internal/version"
)

// usageError is an error in how a command was called.
type usageError struct{ err error }

func (e usageError) Error() string        { return e.err.Error() }
func (e usageError) Unwrap() error        { return e.err }
func (e usageError) Is(target error) bool { return target == transfer.ErrUsage }

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "efs",
		Short: "Copy files to and from EFS, the encrypted file system over HTTPS",
		Long: `efs copies files to and from EFS file systems and manages what is there.

A file in a file system is written REMOTE:/PATH, where REMOTE is a name given
with "efs remote add"; the slash may be left out. "-" is standard input or
output.

Exit status: 0 all was done, 1 something failed, 2 the command was not understood.

Environment:
  EFS_PASSPHRASE_FILE  a file with the passphrase of the key, for scripts
  XDG_CONFIG_HOME      where efs/remotes.toml lies (default: ~/.config)
  XDG_STATE_HOME       where efs/sync lies, what cp --sync remembers (default: ~/.local/state)`,
		Example: `  efs remote add drive https://efs.example.org --key priv.pgp --cert clientCert.crt --ca ca.crt
  efs cp ./Doc.pdf drive:/Documents/
  efs cp -r drive:/Documents ./backup
  efs ls -l drive:/Documents
  tar c data | efs put drive:/data.tar`,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,

		SuggestionsMinimumDistance: 2,
	}
	root.SetVersionTemplate("efs {{.Version}}\n")
	root.PersistentFlags().StringVar(&a.passphraseFile, "passphrase-file", "", "file with the passphrase of the key, instead of asking")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (%s --help tells more)", err, cmd.CommandPath())}
	})
	root.AddCommand(remoteCommand(a), cpCommand(a), lsCommand(a), catCommand(a), putCommand(a), rmCommand(a),
		mvCommand(a), mkdirCommand(a), statCommand(a), treeCommand(a), tarCommand(a), keygenCommand(), versionCommand())
	root.Args = unknownCommand
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  efs version", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "efs "+version.String())
			return err
		},
	}
}

// unknownCommand refuses a first word that is no command.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{fmt.Errorf("%s (%s --help lists them)", text, cmd.CommandPath())}
}

// miscount says what is wrong with the number of arguments given.
func miscount(cmd *cobra.Command, check cobra.PositionalArgs, given []string) string {
	for more := slices.Clone(given); len(more) < len(given)+2; {
		if more = append(more, ""); check(cmd, more) == nil {
			return "something is missing"
		}
	}
	return fmt.Sprintf("%q is too much", given[len(given)-1])
}

// args makes a wrong number of arguments a usage error that shows the form.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := check(cmd, given); err != nil {
			return usageError{fmt.Errorf("%s: %s; usage: %s", cmd.Name(), miscount(cmd, check, given), cmd.UseLine())}
		}
		return nil
	}
}
