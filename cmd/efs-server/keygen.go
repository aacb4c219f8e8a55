package main

import (
	"fmt"

	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
	"github.com/spf13/cobra"
)

func keygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen",
		Short: "Make a starter key and print it (base64)",
		Long: `Make a starter key and print it in base64. It is kept nowhere: without it, what
a server sealed under it is lost. Keep copies where the volume is not.`,
		Example: `  (umask 077; efs-server keygen > /run/secrets/starter.key)`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := secret.Harden(); err != nil {
				return err
			}
			text, key, err := starter.Generate()
			if err != nil {
				return err
			}
			key.Destroy()
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text); err != nil {
				return fmt.Errorf("printing the starter key: %w", err)
			}
			return nil
		},
	}
}
