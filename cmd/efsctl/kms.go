package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/node"
	"github.com/spf13/cobra"
)

const kmsLong = `Look at the KMSs of a server, and manage the master keys in them.

A master key wraps the keys of file systems and never leaves its KMS. KEY is its
id, or PROVIDER/ID where several KMSs have a key of that id; --provider says the
same. What a KMS does not support is done with its own tools.`

func (c *ctl) kmsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kms",
		Short: "Look at KMSs, and manage master keys",
		Long:  kmsLong,
		Example: `  efsctl kms status
  efsctl kms list
  efsctl kms create my-key --description "of the payroll" --tag team=payroll
  efsctl kms disable my-key`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.kmsStatusCommand(), c.kmsListCommand(), c.kmsCreateCommand(), c.kmsUpdateCommand(),
		c.kmsDisableCommand(), c.kmsDeleteCommand(),
		c.onKey("describe", "Show a master key and the file systems that it concerns", "", (*admin.Client).DescribeKey),
		c.onKey("rotate", "Add a version to a master key", `Add a version to a master key. What is wrapped from now on is wrapped by it; what
older versions wrapped still unwraps. 'efsctl rotate-kms' also wraps anew what
the older versions wrapped.`, (*admin.Client).RotateKey),
		c.onKey("enable", "Let a disabled master key be used again", `Let a disabled master key be used again. The file systems concerned go on at
once; those that could not be opened without it are opened.`, (*admin.Client).EnableKey),
		c.onKey("cancel-deletion", "Keep a master key that is to be deleted", `Keep a master key that is to be deleted. It stays disabled until it is enabled
with 'efsctl kms enable'.`, (*admin.Client).CancelKeyDeletion))
	return cmd
}

func (c *ctl) kmsStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Ask every KMS whether it answers",
		Example: "  efsctl kms status\n  efsctl kms status --json",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := c.client(cmd).KMSStatus(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, all)
			}
			rows := [][]string{{"PROVIDER", "STATE", "SINCE", "LATENCY"}}
			for _, s := range all {
				state := "ready"
				if !s.Ready {
					state = "not ready"
				}
				rows = append(rows, []string{s.Provider, state, s.Since.Format(time.RFC3339), fmt.Sprintf("%.1f ms", s.Latency)})
			}
			if err := table(cmd.OutOrStdout(), rows); err != nil {
				return err
			}
			for _, s := range all {
				if s.Error != "" {
					printLine(cmd, s.Provider+": "+s.Error)
				}
			}
			return nil
		},
	}
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) kmsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [PROVIDER]",
		Short:   "List master keys and the file systems that they concern",
		Example: "  efsctl kms list\n  efsctl kms list local --json",
		Args: func(cmd *cobra.Command, given []string) error {
			if len(given) == 1 {
				return nil
			}
			return args()(cmd, given)
		},
		ValidArgsFunction: func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(given) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return c.providers(cmd), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, given []string) error {
			list, err := c.client(cmd).ListKeys(cmd.Context(), strings.Join(given, ""))
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, list)
			}
			if err := table(cmd.OutOrStdout(), keyRows(list.Keys)); err != nil {
				return err
			}
			for _, p := range list.Problems {
				fmt.Fprintln(cmd.ErrOrStderr(), "efsctl: "+p)
			}
			return nil
		},
	}
	c.jsonFlag(cmd)
	return cmd
}

func keyRows(keys []node.KeyStatus) [][]string {
	rows := [][]string{{"PROVIDER", "KEY", "STATE", "VERSION", "CREATED", "FILE SYSTEMS"}}
	for _, k := range keys {
		rows = append(rows, []string{k.Provider, k.ID, string(k.State), fmt.Sprint(k.Version), k.Created.Format(time.DateOnly), fileSystems(k)})
	}
	return rows
}

func fileSystems(k node.KeyStatus) string {
	if len(k.FileSystems) == 0 {
		return "-"
	}
	return strings.Join(k.FileSystems, ", ")
}

// onKey is a command on one master key that needs nothing but its name.
func (c *ctl) onKey(name, short, long string, do func(*admin.Client, context.Context, admin.KMSKeyRequest) (node.KeyStatus, error)) *cobra.Command {
	cmd, provider := c.keyCommand(name, short, long, "  efsctl kms "+name+" my-key\n  efsctl kms "+name+" my-key --provider vault --json")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		k, err := do(c.client(cmd), cmd.Context(), admin.KMSKeyRequest{Provider: *provider, KeyID: given[0]})
		if err != nil {
			return err
		}
		return c.printKey(cmd, k)
	}
	return cmd
}

// keyCommand is a command on one master key, without what it does.
func (c *ctl) keyCommand(name, short, long, example string) (cmd *cobra.Command, provider *string) {
	cmd = &cobra.Command{
		Use: name + " KEY", Short: short, Long: long, Example: example, Args: args("KEY"),
		ValidArgsFunction: func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(given) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return c.keyNames(cmd, *provider), cobra.ShellCompDirectiveNoFileComp
		},
	}
	provider = cmd.Flags().String("provider", "", "KMS of the key (default: the one that has it)")
	_ = cmd.RegisterFlagCompletionFunc("provider", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.providers(cmd), cobra.ShellCompDirectiveNoFileComp
	}) // fails only for a flag that does not exist
	c.jsonFlag(cmd)
	return cmd, provider
}

func (c *ctl) providers(cmd *cobra.Command) (names []string) {
	all, err := c.client(cmd).KMSStatus(cmd.Context())
	if err != nil {
		return nil // completion has nowhere to say why
	}
	for _, s := range all {
		names = append(names, s.Provider)
	}
	return names
}

func (c *ctl) keyNames(cmd *cobra.Command, provider string) (names []string) {
	list, err := c.client(cmd).ListKeys(cmd.Context(), provider)
	if err != nil {
		return nil // completion has nowhere to say why
	}
	for _, k := range list.Keys {
		names = append(names, k.ID)
	}
	return names
}

func (c *ctl) printKey(cmd *cobra.Command, k node.KeyStatus) error {
	if c.json {
		return printJSON(cmd, k)
	}
	rows := [][]string{
		{"Key:", k.Provider + "/" + k.ID},
		{"State:", string(k.State)},
	}
	if !k.DeleteAt.IsZero() {
		rows = append(rows, []string{"Deleted at:", k.DeleteAt.Format(time.RFC3339)})
	}
	rows = append(rows, []string{"Version:", strconv.Itoa(k.Version)}, []string{"Created:", k.Created.Format(time.RFC3339)},
		[]string{"File systems:", fileSystems(k)})
	if k.Description != "" {
		rows = append(rows, []string{"Description:", k.Description})
	}
	for _, t := range slices.Sorted(maps.Keys(k.Tags)) {
		rows = append(rows, []string{"Tag:", t + "=" + k.Tags[t]})
	}
	return table(cmd.OutOrStdout(), rows)
}
