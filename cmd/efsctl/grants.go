package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/admin"
	"github.com/spf13/cobra"
)

const grantLong = `Let a user do something with a path of a file system, or with a master key.

USER is a user of the file system that the grant is on; USER@FS one of another.
WHAT is permissions or roles, separated by commas. On paths: read, write, list,
delete. On a whole file system, FS:/, also: audit (its audit log) and manage (its
policy, users and grants). On keys: kms:use, kms:rotate, kms:admin. The roles:

  reader   read, list
  writer   read, write, list, delete
  auditor  list, audit
  admin    all of them but those on keys

A grant on a path covers what is there and all below it: FS:/patients and
FS:/patients/ cover /patients/173, and never /patients2. The path need not exist
yet. A user has everything in its own file system until something is taken away
with revoke-grant, or the user was made with --no-grants.`

func (c *ctl) grantCommand() *cobra.Command {
	return c.onGrants("grant", "Let a user do something with a path or a key", grantLong,
		`  efsctl grant app1 read,write,list,delete --on user-data:/patients/
  efsctl grant app2@reports reader --on user-data:/patients/173/
  efsctl grant adm admin --on user-data:/
  efsctl grant app1@user-data kms:use --on kms:my-key`,
		func(cmd *cobra.Command, r admin.GrantRequest) error {
			g, err := c.client(cmd).Grant(cmd.Context(), r)
			if err == nil {
				printLine(cmd, fmt.Sprintf("Granted %s on '%s' to '%s'", g.Permissions, g.On, g.Holder))
			}
			return err
		})
}

const revokeGrantLong = `Take from a user what was granted on a path or a key. What the user is doing ends
at once: sessions and connections too, so that the user logs in again for the
rest.

Grants only add: what a grant on a directory permits cannot be taken away for a
part of it. Grant the parts that are to stay, then revoke the wider grant. The
grant on FS:/ that every user of FS has by default is revoked like any other.`

func (c *ctl) revokeGrantCommand() *cobra.Command {
	return c.onGrants("revoke-grant", "Take a grant from a user, and end what the user is doing", revokeGrantLong,
		`  efsctl revoke-grant app1 delete --on user-data:/patients/
  efsctl revoke-grant app1 writer --on user-data:/
  efsctl revoke-grant app1@user-data kms:use --on kms:my-key`,
		func(cmd *cobra.Command, r admin.GrantRequest) error {
			g, err := c.client(cmd).RevokeGrant(cmd.Context(), r)
			if err == nil {
				printLine(cmd, fmt.Sprintf("Revoked %s on '%s' from '%s'", g.Permissions, g.On, g.Holder))
			}
			return err
		})
}

// onGrants is a command on a grant.
func (c *ctl) onGrants(name, short, long, example string, run func(*cobra.Command, admin.GrantRequest) error) *cobra.Command {
	var on string
	cmd := &cobra.Command{
		Use: name + " USER[@FS] WHAT[,WHAT…] --on FS:/PATH|kms:KEY", Short: short, Long: long, Example: example,
		Args: args("USER", "WHAT"),
		ValidArgsFunction: func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
			switch len(given) {
			case 0:
				return c.userNames(cmd, fsOf(on), nil), cobra.ShellCompDirectiveNoFileComp
			case 1:
				return completeWords(typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if on == "" {
				return usageError{fmt.Errorf("%s: --on is missing: on which FS:/PATH, or kms:KEY?", name)}
			}
			if _, err := access.ParsePermissions(args[1]); err != nil {
				return usageError{err}
			}
			if _, err := access.ParseResource(on); err != nil {
				return usageError{err}
			}
			user, _, _ := strings.Cut(args[0], "@")
			return run(cmd, admin.GrantRequest{Holder: args[0], Permissions: args[1], On: on, FS: fsOf(on), User: user})
		},
	}
	cmd.Flags().StringVar(&on, "on", "", "what the grant is on: FS:/PATH, kms:KEY or kms:PROVIDER/KEY (required)")
	_ = cmd.RegisterFlagCompletionFunc("on", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		words := []string{"kms:"}
		for _, name := range c.fsNames(cmd) {
			words = append(words, name+":/")
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}) // fails only for a flag that does not exist
	return cmd
}

// fsOf is the file system that a grant is on; "" for a key.
func fsOf(on string) string {
	r, err := access.ParseResource(on)
	if err != nil {
		return ""
	}
	return r.FS
}

// completeWords completes the last of several permissions.
func completeWords(typed string) (words []string) {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	for _, w := range access.PermissionWords() {
		words = append(words, before+w)
	}
	return words
}

func (c *ctl) listGrantsCommand() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "list-grants [FS]",
		Short: "List who may do what, in one file system or everywhere",
		Long: `List who may do what: in file system FS, or in all and with master keys. A user
about whom nothing else was said has everything in its own file system, which is
marked as the default.`,
		Example:           "  efsctl list-grants user-data\n  efsctl list-grants --user app1@user-data\n  efsctl list-grants user-data --json",
		ValidArgsFunction: c.completeFS,
		Args: func(cmd *cobra.Command, given []string) error {
			if len(given) > 1 {
				return usageError{errors.New("list-grants: give one file system, or none for all")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := c.client(cmd).ListGrants(cmd.Context(), admin.ListGrantsRequest{FS: strings.Join(args, ""), User: user})
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, list)
			}
			rows := [][]string{{"HOLDER", "ON", "MAY", "SINCE"}}
			for _, g := range list {
				since := g.Since.Format(time.DateOnly)
				if g.Default {
					since += " (default)"
				}
				rows = append(rows, []string{g.Holder, g.On, g.Permissions.String(), since})
			}
			return table(cmd.OutOrStdout(), rows)
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "only of this user: USER or USER@FS")
	c.jsonFlag(cmd)
	return cmd
}
