package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/prompt"
	"github.com/efs-project/efs/internal/starter"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (c *ctl) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Make the starter key of an empty root, print it once, start service",
		Long: `Make the starter key of an empty root, print it and bring the server into
service. The key is printed this once and kept nowhere: without it, what is
stored is lost after the next start. Keep copies where the volume is not.`,
		Example: "  docker exec efs-server efsctl init",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := c.client(cmd).Init(cmd.Context())
			if key != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "Starter key, shown this once. Keep it apart from the volume; give it to the server at each start:")
				printLine(cmd, key)
			}
			if err != nil && key != "" {
				return fmt.Errorf("%w\nKeep the key: `efsctl status` tells whether the root was initialised with it (state sealed or ready)", err)
			}
			if err == nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "The server is in service. Next: efsctl create-fs NAME")
			}
			return err
		},
	}
}

func (c *ctl) unsealCommand() *cobra.Command {
	var keyFile string
	var passphrase bool
	cmd := &cobra.Command{
		Use:   "unseal",
		Short: "Open a sealed root with its starter key",
		Long: `Open a sealed root with its starter key, read from --key-file, from the terminal
without echo, or from standard input.`,
		Example: `  efsctl unseal                                  # asks, without echo
  efsctl unseal --key-file /run/secrets/starter.key
  pass efs/starter | docker exec -i efs-server efsctl unseal
  efsctl unseal --passphrase                     # a root that was initialised with one`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			question := "Starter key: "
			if passphrase {
				question = "Passphrase: "
			}
			secret, err := readSecret(cmd, keyFile, question)
			if err != nil {
				return err
			}
			request := admin.UnsealRequest{StarterKey: secret}
			if passphrase {
				request = admin.UnsealRequest{Passphrase: secret}
			}
			if err := c.client(cmd).Unseal(cmd.Context(), request); err != nil {
				return err
			}
			printLine(cmd, "Unsealed. The server is in service.")
			return nil
		},
	}
	cmd.Flags().StringVar(&keyFile, "key-file", "", "file that holds the starter key, or - for standard input")
	cmd.Flags().BoolVar(&passphrase, "passphrase", false, "give the passphrase that the root was initialised with, not a key")
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
