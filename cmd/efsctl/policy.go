package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/policyset"
	"github.com/spf13/cobra"
)

func setFlag(cmd *cobra.Command, set *[]string) {
	cmd.Flags().StringArrayVar(set, "set", nil, "change this, KEY=VALUE; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("set", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var keys []string
		for _, name := range policyset.Names() {
			keys = append(keys, name+"=")
		}
		return keys, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	})
}

func (c *ctl) policyCommand() *cobra.Command {
	var set []string
	var history bool
	cmd := &cobra.Command{
		Use:   "policy FS [--set KEY=VALUE]... [--history]",
		Short: "Show or change how a file system seals what is stored",
		Long: `Show how a file system seals what is stored in it, or change that. What is
stored from then on follows; what is there stays as it is, and readable
(efsctl reseal brings it to the present policy). All that is set takes effect
together or not at all.

  algorithm     AES256 or CHACHA20_POLY1305, of the only stage
  kms_key_id    KEY or PROVIDER/KEY, of the only stage
  stages        ALGORITHM:PROVIDER/KEY, one to four with commas: each seals
                everything once more, and the keys of all are needed to open it
  compression   none or zstd
  padding       none or padme, which hides sizes for up to 12 % more
  inline_limit  files up to this size lie in the index, not in files of their own
  segment_size  what is authenticated at a time; a power of two from 1KiB to 1MiB
  erasure_unit  directories that can be forgotten each, such as /patients/*; ''
                for none
  recovery_recipient
                a public key, efs1…: whoever has its private half opens the file
                system without its KMS (efs-recover --recovery-key); none for
                nobody

Keys from another provider are made and tried before anything is changed.`,
		Example: `  efsctl policy user-data
  efsctl policy user-data --set compression=zstd --set padding=none
  efsctl policy user-data --set stages=AES256:local/default,CHACHA20_POLY1305:vault/my-key
  efsctl policy user-data --history --json`,
		Args:              args("FS"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.policy(cmd, args[0], set, history)
		},
	}
	setFlag(cmd, &set)
	cmd.Flags().BoolVar(&history, "history", false, "show all policies: when, by whom, what changed")
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) policy(cmd *cobra.Command, fs string, set []string, history bool) error {
	if len(set) > 0 {
		if _, err := c.client(cmd).SetPolicy(cmd.Context(), fs, set); err != nil {
			return err
		}
	}
	all, err := c.client(cmd).PolicyHistory(cmd.Context(), fs)
	if err != nil {
		return err
	}
	last := all[len(all)-1]
	switch {
	case history && c.json:
		return printJSON(cmd, all)
	case history:
		return printHistory(cmd, all)
	case c.json:
		return printJSON(cmd, last)
	}
	printLine(cmd, fmt.Sprintf("%-13s %d, of %s by %s", "version", last.Version, last.Changed.Format(time.DateTime+"Z"), byWhom(last.User)))
	for _, row := range policyset.Show(last.Policy) {
		printLine(cmd, strings.TrimRight(fmt.Sprintf("%-13s %s", row[0], row[1]), " "))
	}
	return nil
}

func printHistory(cmd *cobra.Command, all []admin.PolicyVersion) error {
	rows := [][]string{{"VERSION", "WHEN", "WHO", "WHAT"}}
	for _, p := range all {
		what := strings.Join(p.What, "; ")
		if p.Version == 1 {
			what = "the first one"
		}
		rows = append(rows, []string{fmt.Sprint(p.Version), p.Changed.Format(time.DateTime + "Z"), byWhom(p.User), what})
	}
	return table(cmd.OutOrStdout(), rows)
}

// byWhom names who did something on a file system.
func byWhom(user string) string {
	if user == "" {
		return "an administrator"
	}
	return user
}
