package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/config"
	"github.com/spf13/cobra"
)

func (c *ctl) backupKeysCommand() *cobra.Command {
	expires := "90d"
	var list bool
	cmd := &cobra.Command{
		Use:   "backup-keys FILE [--expires 90d]",
		Short: "Write a sealed copy of the key store that expires",
		Long: `Write a sealed, consistent copy of keys.db to FILE, while it is in use, with the
server's own secrets (its authorities, the local KMS) as the starter key seals
them. It holds sealed keys only, and opens with the root's starter key alone.
Where the machine is lost, efsctl init --from begins with it on another.

What is forgotten or destroyed later may still be in the copy, so it expires:
after that no server restores it, and receipts of forgetting name that date.
Delete it then. Without FILE, --list shows the copies that have not expired.`,
		Example: `  efsctl backup-keys /backup/keys-2026-05-04.efs
  efsctl backup-keys /backup/keys.efs --expires 30d
  efsctl backup-keys --list`,
		Args: func(cmd *cobra.Command, given []string) error {
			if list {
				return args()(cmd, given)
			}
			return args("FILE")(cmd, given)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				return c.listCopies(cmd)
			}
			life, err := config.ParseDuration(expires)
			if err != nil {
				return usageError{fmt.Errorf("backup-keys: --expires: %w", err)}
			}
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			done, err := c.client(cmd).BackupKeys(cmd.Context(), admin.BackupKeysRequest{Path: path, Expires: life})
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, done)
			}
			printLine(cmd, fmt.Sprintf("Keys are backed up in %s. It can be restored until %s; delete it then.", path, done.Expires.Format(time.DateOnly)))
			return nil
		},
	}
	cmd.Flags().StringVar(&expires, "expires", expires, "how long it can be restored: 12h, 90d")
	cmd.Flags().BoolVar(&list, "list", false, "show the copies that have not expired; make none")
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) listCopies(cmd *cobra.Command) error {
	all, err := c.client(cmd).KeyCopies(cmd.Context())
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(cmd, all)
	}
	rows := [][]string{{"COPY", "MADE", "EXPIRES"}}
	for _, k := range all {
		rows = append(rows, []string{k.ID.String(), k.Created.Format(time.DateTime), k.Expires.Format(time.DateTime)})
	}
	return table(cmd.OutOrStdout(), rows)
}

func (c *ctl) restoreKeysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore-keys FILE",
		Short: "Take lost keys from a copy that backup-keys made",
		Long: `Take from a copy of the key store the keys of those file systems that have none
here, or damaged ones, and open them. Keys that are here and good stay: they are
newer. What was forgotten, destroyed or deleted since the copy was made stays so,
as far as the present keys.db tells. One that has expired is refused.

To begin with an empty key store, stop the server, move keys.db away, start it.`,
		Example: "  efsctl restore-keys /backup/keys-2026-05-04.efs",
		Args:    args("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			done, err := c.client(cmd).RestoreKeys(cmd.Context(), path)
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, done)
			}
			printLine(cmd, fmt.Sprintf("From the copy of %s: %s", done.Copy.Created.Format(time.DateTime), orNone(done.Restored)))
			printLine(cmd, "Here and good: "+orNone(done.Kept))
			if len(done.Missing) > 0 {
				return fmt.Errorf("neither here nor in the copy are usable keys of: %s", orNone(done.Missing))
			}
			return nil
		},
	}
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) rotateJWTCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-jwt",
		Short: "Make another key sign session tokens",
		Long: `Make another key sign session tokens. Sessions go on: tokens signed before are
good until they expire, an hour at most, and are renewed under the new key.`,
		Example: "  efsctl rotate-jwt",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.client(cmd).RotateJWT(cmd.Context()); err != nil {
				return err
			}
			printLine(cmd, "Session tokens are signed with a new key.")
			return nil
		},
	}
}
