package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs/internal/keyfile"
	"github.com/efs-project/efs/seal"
)

func keygenCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "keygen -o FILE",
		Short: "Make a key pair for archives",
		Long: `Make a key pair for archives. The private key goes to FILE, which only you can
read; the public key (efs1…) is printed. What "efs tar -r PUBLIC" seals opens
with "-i FILE" alone: keep FILE in a safe place that is not the one where the
archives are, and a second copy of it. There is no way in without it.`,
		Example: `  efs keygen -o safe.key > safe.pub
  efs tar --fs drive -o drive.efs.tar.gz.aes -r safe.pub
  efs tar -t -i safe.key drive.efs.tar.gz.aes`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usageError{errors.New("where is the private key to go? Name a new file with -o FILE")}
			}
			k, err := seal.GenerateKeyPair()
			if err != nil {
				return err
			}
			if err := keyfile.Write(out, k, time.Now()); errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already, and stays: what was sealed to its public key opens with nothing else", out)
			} else if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), k.Public())
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "new file for the private key")
	return cmd
}
