package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/config"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/spf13/cobra"
)

func (c *ctl) quotaCommand() *cobra.Command {
	var user, maxBytes, maxFiles string
	cmd := &cobra.Command{
		Use:   "quota [USER@]FS [--max-bytes SIZE] [--max-files N]",
		Short: "Show or bound what a file system, or a user of it, may store",
		Long: `Show what a file system and its users have in use of their quotas, or bound it.
Sizes are those of the files, before they are sealed. A file counts for the user
who wrote its present version. FS alone bounds the whole file system.

A store that would pass a bound is refused (507, quota-exceeded). Reading,
deleting, and replacing by something smaller always work. 0 takes a bound away.
When a user gets the first bound, the user's files are counted in the
background; the bound holds when that is done.`,
		Example: `  efsctl quota user-data
  efsctl quota user-data --max-bytes 10GiB
  efsctl quota app1@user-data --max-bytes 500MiB --max-files 10000
  efsctl quota app1@user-data --max-bytes 0 --max-files 0`,
		Args:              args("FS"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := admin.SetQuotaRequest{FS: args[0], User: user}
			if name, fs, ok := strings.Cut(args[0], "@"); ok && user == "" {
				r.FS, r.User = fs, name
			}
			if err := readBounds(&r, maxBytes, maxFiles); err != nil {
				return usageError{err}
			}
			return c.quota(cmd, r)
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "the quota of this user: the same as USER@FS")
	cmd.Flags().StringVar(&maxBytes, "max-bytes", "", "at most so much, such as 500MiB; 0: no bound")
	cmd.Flags().StringVar(&maxFiles, "max-files", "", "at most so many files; 0: no bound")
	c.jsonFlag(cmd)
	return cmd
}

func readBounds(r *admin.SetQuotaRequest, maxBytes, maxFiles string) error {
	if maxBytes != "" {
		var size config.Size
		if err := size.UnmarshalText([]byte(maxBytes)); err != nil {
			return fmt.Errorf("quota: --max-bytes: %w", err)
		}
		r.MaxBytes = (*int64)(&size)
	}
	if maxFiles != "" {
		n, err := strconv.ParseInt(maxFiles, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("quota: --max-files: %q is no number of files", maxFiles)
		}
		r.MaxFiles = &n
	}
	return nil
}

func (c *ctl) quota(cmd *cobra.Command, r admin.SetQuotaRequest) error {
	if r.MaxBytes != nil || r.MaxFiles != nil {
		if _, err := c.client(cmd).SetQuota(cmd.Context(), r); err != nil {
			return err
		}
	}
	all, err := c.client(cmd).Quotas(cmd.Context(), r.FS)
	if err != nil {
		return err
	}
	if r.User != "" {
		all = only(all, r.User)
	}
	if c.json {
		return printJSON(cmd, all)
	}
	return printQuotas(cmd, all)
}

// only returns the quota of a user; one that bounds nothing if there is none.
func only(all []fsys.QuotaState, user string) []fsys.QuotaState {
	for _, q := range all {
		if q.User == user {
			return []fsys.QuotaState{q}
		}
	}
	return []fsys.QuotaState{}
}

func printQuotas(cmd *cobra.Command, all []fsys.QuotaState) error {
	if len(all) == 0 {
		printLine(cmd, "No quota.")
		return nil
	}
	rows := [][]string{{"USER", "BYTES", "OF", "FILES", "OF"}}
	for _, q := range all {
		row := []string{q.User, bytesText(q.Bytes), "-", fmt.Sprint(q.Files), "-"}
		if q.User == "" {
			row[0] = "(all)"
		}
		if q.Counting {
			row[1], row[3] = "counting", "counting"
		}
		if q.MaxBytes > 0 {
			row[2] = bytesText(q.MaxBytes)
		}
		if q.MaxFiles > 0 {
			row[4] = fmt.Sprint(q.MaxFiles)
		}
		rows = append(rows, row)
	}
	return table(cmd.OutOrStdout(), rows)
}
