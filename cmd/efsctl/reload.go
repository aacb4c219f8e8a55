package main

import (
	"fmt"

	"github.com/efs-project/efs/internal/config"
	"github.com/spf13/cobra"
)

func (c *ctl) reloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the server read its configuration and certificates again",
		Long: `Have the server read its configuration file and its certificates again, as
SIGHUP does, and tell what is in force now and what waits for a restart. No
connection is cut. A configuration that is wrong changes nothing.`,
		Example: "  efsctl reload\n  efsctl reload --json",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			done, err := c.client(cmd).Reload(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, done)
			}
			if len(done.Applied)+len(done.NeedsRestart) == 0 {
				printLine(cmd, "No setting has changed.")
			}
			printChanges(cmd, "Applied", done.Applied)
			printChanges(cmd, "Needs a restart", done.NeedsRestart)
			for _, file := range done.Certificates {
				printLine(cmd, "Certificate read again: "+file)
			}
			return nil
		},
	}
	c.jsonFlag(cmd)
	return cmd
}

func printChanges(cmd *cobra.Command, what string, changes []config.Change) {
	for _, ch := range changes {
		line := what + ": " + ch.Key
		if ch.New != "" {
			line += fmt.Sprintf(": %s, was %s", ch.New, ch.Old)
		}
		printLine(cmd, line)
	}
}
