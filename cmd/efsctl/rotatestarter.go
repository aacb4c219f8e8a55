package main

import (
	"errors"
	"fmt"

	"github.com/efs-project/efs/internal/admin"
	"github.com/spf13/cobra"
)

func (c *ctl) rotateStarterCommand() *cobra.Command {
	var r admin.RotateStarterRequest
	var passphrase bool
	cmd := &cobra.Command{
		Use:   "rotate-starter-key [--shares N --threshold T | --passphrase | --key]",
		Short: "Put the root under another starter key, in service",
		Long: `Make another starter key, print it once, and seal the server's secrets under it.
The server stays in service; no file system is touched. From the moment this
succeeds the old key opens nothing any more: put the new one in its place
before the next start.

A root that is opened with a passphrase gets a new one with --passphrase (asked
for twice, or read from standard input), or a key in its place with --key. Where
there were shares, say --shares again: without it the key is printed whole.`,
		Example: `  efsctl rotate-starter-key > new.key
  efsctl rotate-starter-key --shares 5 --threshold 3
  efsctl rotate-starter-key --passphrase`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkForm(cmd, r.StarterForm); err != nil {
				return err
			}
			var pass []byte
			if passphrase {
				text, err := newPassphrase(cmd)
				if err != nil {
					return err
				}
				pass = []byte(text)
			}
			lines, done, err := c.client(cmd).RotateStarter(cmd.Context(), r, pass)
			printStarter(cmd, r.StarterForm, lines)
			if err != nil {
				if len(lines) > 0 {
					return fmt.Errorf("%w\nKeep the old key and what was printed until the next start showed which one opens the root", err)
				}
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Starter key number %d of this root is in force; the one before opens it no longer.\n", done.Number)
			return nil
		},
	}
	formFlags(cmd, &r.StarterForm)
	cmd.Flags().BoolVar(&passphrase, "passphrase", false, "ask for a new passphrase, from which the key is made")
	cmd.Flags().BoolVar(&r.Key, "key", false, "a key, where there was a passphrase")
	cmd.MarkFlagsMutuallyExclusive("passphrase", "key")
	cmd.MarkFlagsMutuallyExclusive("passphrase", "shares")
	return cmd
}

// newPassphrase asks twice on a terminal; elsewhere it reads standard input.
func newPassphrase(cmd *cobra.Command) (string, error) {
	pass, err := readSecret(cmd, "", "New passphrase: ")
	if err != nil || !isTerminal(cmd.InOrStdin()) {
		return pass, err
	}
	again, err := readSecret(cmd, "", "The same passphrase again: ")
	if err == nil && again != pass {
		err = errors.New("the two passphrases differ: nothing was changed")
	}
	return pass, err
}
