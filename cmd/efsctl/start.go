package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/prompt"
	"github.com/efs-project/efs/internal/starter"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (c *ctl) initCommand() *cobra.Command {
	var form node.StarterForm
	var from string
	cmd := &cobra.Command{
		Use:   "init [--shares N --threshold T | --from FILE]",
		Short: "Make the starter key of an empty root, print it once, start service",
		Long: `Make the starter key of an empty root, print it and bring the server into
service. The key is printed this once and kept nowhere: without it, what is
stored is lost after the next start. Keep copies where the volume is not.

With --shares, not the key is printed but N shares of it, a line each. Any T of
them open the root (efsctl unseal, once for each share); fewer tell nothing.

Where a KMS keeps the starter key (starter.kms in the configuration), nothing is
printed, unless shares or --show-recovery are asked for: without either, a KMS
that loses its key loses all that is stored.

With --from, the root is that of a machine that was lost: it begins with the
keys and the server's secrets in FILE, which efsctl backup-keys wrote, and has the
starter key that it had (efsctl unseal). efsctl restore then brings back the file
systems.`,
		Example: `  docker exec efs-server efsctl init
  efsctl init --shares 5 --threshold 3
  efsctl init --from /backup/keys.efs && efsctl unseal`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkForm(cmd, form); err != nil {
				return err
			}
			if from != "" {
				return c.initFrom(cmd, form, from)
			}
			lines, err := c.client(cmd).InitAs(cmd.Context(), form)
			printStarter(cmd, form, lines)
			if err != nil && len(lines) > 0 {
				return fmt.Errorf("%w\nKeep what was printed: `efsctl status` tells whether the root was initialised with it (state sealed or ready)", err)
			}
			if err == nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "The server is in service. Next: efsctl create-fs NAME")
			}
			return err
		},
	}
	formFlags(cmd, &form)
	cmd.Flags().StringVar(&from, "from", "", "begin with the backup of keys in `FILE`, as the server sees it")
	return cmd
}

func (c *ctl) initFrom(cmd *cobra.Command, form node.StarterForm, from string) error {
	if form != (node.StarterForm{}) {
		return usageError{errors.New("init: --from makes no starter key: the root has the one that it had")}
	}
	path, err := filepath.Abs(from)
	if err != nil {
		return err
	}
	if err := c.client(cmd).InitFrom(cmd.Context(), path); err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "The root has its keys again. Next: efsctl unseal, with its starter key; then efsctl restore DIR for each file system")
	return nil
}

func formFlags(cmd *cobra.Command, form *node.StarterForm) {
	cmd.Flags().IntVar(&form.Shares, "shares", 0, "print so many shares instead of the key")
	cmd.Flags().IntVar(&form.Threshold, "threshold", 0, "how many of the shares open the root")
	cmd.Flags().BoolVar(&form.Show, "show-recovery", false, "print the key also where a KMS keeps it (starter.kms)")
}

func checkForm(cmd *cobra.Command, form node.StarterForm) error {
	if form.Shares == 0 && form.Threshold == 0 {
		return nil
	}
	if form.Shares == 0 || form.Threshold == 0 {
		return usageError{fmt.Errorf("%s: --shares and --threshold belong together, as in --shares 5 --threshold 3", cmd.Name())}
	}
	if err := starter.CheckShares(form.Shares, form.Threshold); err != nil {
		return usageError{fmt.Errorf("%s: %w", cmd.Name(), err)}
	}
	return nil
}

// printStarter prints a starter key, or its shares, and what to do with them.
func printStarter(cmd *cobra.Command, form node.StarterForm, lines []string) {
	switch {
	case len(lines) == 0:
		return
	case form.Shares == 0:
		fmt.Fprintln(cmd.ErrOrStderr(), "Starter key, shown this once. Keep it apart from the volume; give it to the server at each start:")
	default:
		fmt.Fprintf(cmd.ErrOrStderr(), "%d shares of the starter key, shown this once. Give each to another person, to be kept apart from the volume;\nat each start %d of them are needed: efsctl unseal, once for each\n",
			form.Shares, form.Threshold)
	}
	for _, line := range lines {
		printLine(cmd, line)
	}
}

func (c *ctl) unsealCommand() *cobra.Command {
	var keyFile string
	var passphrase, reset bool
	cmd := &cobra.Command{
		Use:   "unseal",
		Short: "Open a sealed root with its starter key, or with shares of it",
		Long: `Open a sealed root with its starter key, read from --key-file, from the terminal
without echo, or from standard input.

A share of the key is given in the same way, one at a time, by one person after
the other. The server remembers shares for 15 minutes after the last one; one
that does not belong to them is refused and changes nothing.`,
		Example: `  efsctl unseal                                  # asks, without echo
  efsctl unseal --key-file /run/secrets/starter.key
  pass efs/starter | docker exec -i efs-server efsctl unseal
  efsctl unseal --passphrase                     # a root that was initialised with one
  efsctl unseal --reset                          # forget the shares given so far`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reset {
				forgotten, err := c.client(cmd).ResetUnseal(cmd.Context())
				if err == nil {
					printLine(cmd, fmt.Sprintf("Forgot %d shares.", forgotten))
				}
				return err
			}
			question := "Starter key, or a share of it: "
			if passphrase {
				question = "Passphrase: "
			}
			secret, err := readSecret(cmd, keyFile, question)
			if err != nil {
				return err
			}
			as := admin.AsKey
			switch {
			case passphrase:
				as = admin.AsPassphrase
			case starter.IsShare(secret):
				as = admin.AsShare
			}
			done, err := c.client(cmd).Unseal(cmd.Context(), as, []byte(secret))
			if err != nil {
				return err
			}
			if done.Have < done.Need {
				printLine(cmd, fmt.Sprintf("%d of %d shares given. Still sealed.", done.Have, done.Need))
				return nil
			}
			printLine(cmd, "Unsealed. The server is in service.")
			return nil
		},
	}
	cmd.Flags().StringVar(&keyFile, "key-file", "", "file that holds the starter key or a share, or - for standard input")
	cmd.Flags().BoolVar(&passphrase, "passphrase", false, "give the passphrase that the root was initialised with, not a key")
	cmd.Flags().BoolVar(&reset, "reset", false, "forget the shares given so far")
	cmd.MarkFlagsMutuallyExclusive("key-file", "reset")
	cmd.MarkFlagsMutuallyExclusive("passphrase", "reset")
	return cmd
}

// maxSecret bounds what is read as a key or passphrase, bytes.
const maxSecret = 4096

// readSecret reads a key or a passphrase: from file, else from a terminal
// without echo, else from standard input to its end.
func readSecret(cmd *cobra.Command, file, question string) (string, error) {
	in := cmd.InOrStdin()
	if file != "" && file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("key file: %w", err)
		}
		defer f.Close()
		in = f
	} else if file == "" && isTerminal(in) {
		b, err := prompt.Secret(cmd.Context(), func() ([]byte, error) { return starter.TerminalPrompt(question) })
		if err != nil {
			return "", err
		}
		defer clear(b)
		return checkSecret(b)
	}
	b, err := prompt.Read(cmd.Context(), func() ([]byte, error) { return io.ReadAll(io.LimitReader(in, maxSecret+1)) }, nil)
	if err != nil {
		return "", fmt.Errorf("reading the key: %w", err)
	}
	defer clear(b)
	return checkSecret(b)
}

func checkSecret(b []byte) (string, error) {
	s := strings.TrimRight(string(b), "\r\n")
	switch {
	case s == "":
		return "", errors.New("no key was given: type it at the prompt, give --key-file FILE, or pipe it in with `docker exec -i`")
	case len(b) > maxSecret:
		return "", errors.New("that is too long for a starter key or passphrase")
	}
	return s, nil
}

func isTerminal(r any) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
