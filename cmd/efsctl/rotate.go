package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/spf13/cobra"
)

func (c *ctl) rotateCommand() *cobra.Command {
	var list bool
	cmd := &cobra.Command{
		Use:   "rotate FS",
		Short: "Begin a new epoch of a file system's keys",
		Long: `Begin a new epoch of a file system's keys, while it is in use: what is written
from now on is sealed with new keys. No file is touched; what older epochs
sealed opens as before, until they are retired.

--list shows the epochs that there are and changes nothing.`,
		Example:           "  efsctl rotate user-data\n  efsctl rotate user-data --list",
		Args:              args("FS"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				return c.listEpochs(cmd, args[0])
			}
			r, err := c.client(cmd).Rotate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, r)
			}
			printLine(cmd, fmt.Sprintf("File system %s seals with epoch %d from now on.", r.FS, r.Epoch))
			return nil
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "show the epochs; change nothing")
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) listEpochs(cmd *cobra.Command, fs string) error {
	all, err := c.client(cmd).Epochs(cmd.Context(), fs)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(cmd, all)
	}
	rows := [][]string{{"EPOCH", "STATE", "CREATED", "KEYS"}}
	for _, e := range all {
		state := e.State
		if e.Newest {
			state = "newest"
		}
		rows = append(rows, []string{fmt.Sprint(e.Number), state, e.Created.Format(time.DateOnly), stageText(e.Stages)})
	}
	return table(cmd.OutOrStdout(), rows)
}

func stageText(stages []keyring.MasterKey) string {
	var all []string
	for _, s := range stages {
		all = append(all, s.Provider+"/"+s.KeyID)
	}
	return strings.Join(all, ", ")
}

func (c *ctl) rotateKMSCommand() *cobra.Command {
	var r admin.RotateKMSRequest
	cmd := &cobra.Command{
		Use:   "rotate-kms KEY [--provider PROVIDER] [--rewrap-only]",
		Short: "Rotate a master key and wrap everything under it anew",
		Long: `Rotate a master key in its KMS and wrap every key under it anew with the new
version, while everything is in use. No file is touched. If it is cut off, the
next start goes on.

--rewrap-only leaves the master key as it is: for a KMS whose keys are rotated
with its own tools. KEY is the id of the key, or PROVIDER/ID.`,
		Example: `  efsctl rotate-kms default
  efsctl rotate-kms vault/patients --rewrap-only`,
		Args: args("KEY"),
		ValidArgsFunction: func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(given) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return c.keyNames(cmd, r.Provider), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Key = args[0]
			client := c.client(cmd)
			clear := showProgress(client, countProgress("wrapping keys under "+r.Key))
			done, err := client.RotateKMS(cmd.Context(), r)
			clear()
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, done)
			}
			printLine(cmd, fmt.Sprintf("Key %s/%s is at version %d. %s wrapped anew, of: %s",
				done.Provider, done.ID, done.Version, plural(done.Rewrapped, "key was", "keys were"), orNone(done.FileSystems)))
			return nil
		},
	}
	cmd.Flags().StringVar(&r.Provider, "provider", "", "KMS of the key (default: the one that has it)")
	_ = cmd.RegisterFlagCompletionFunc("provider", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.providers(cmd), cobra.ShellCompDirectiveNoFileComp
	}) // fails only for a flag that does not exist
	cmd.Flags().BoolVar(&r.RewrapOnly, "rewrap-only", false, "do not add a version to the master key")
	c.jsonFlag(cmd)
	return cmd
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "no file system"
	}
	return strings.Join(names, ", ")
}
