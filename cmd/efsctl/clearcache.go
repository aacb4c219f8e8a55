package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *ctl) clearCacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clear-cache",
		Short: "Drop and overwrite the decrypted files that the server keeps",
		Long: `Drop and overwrite every decrypted file that the server keeps for those who
read it again ([cache] in its configuration). A file that is being read is
overwritten when its readers are done.`,
		Example: "  efsctl clear-cache\n  efsctl clear-cache --json",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			done, err := c.client(cmd).ClearCache(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, done)
			}
			printLine(cmd, fmt.Sprintf("Dropped %d decrypted files, %d of them still being read", done.Files, done.Reading))
			return nil
		},
	}
	c.jsonFlag(cmd)
	return cmd
}
