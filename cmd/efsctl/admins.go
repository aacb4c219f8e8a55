package main

import (
	"fmt"

	"github.com/efs-project/efs"
	"github.com/spf13/cobra"
)

const createAdminLong = `Make an administrator of the server, who works over HTTPS from anywhere: makes and
deletes file systems, and manages users, grants, policies and master keys of all
of them. Administrators get at no file by being that. They log in as users do,
with a public key and a TLS client certificate, in a realm of their own, @server.

Keys, certificates and --out are as with create-user.`

func (c *ctl) createAdminCommand() *cobra.Command {
	f := createUserFlags{fs: efs.ServerRealm}
	cmd := &cobra.Command{
		Use:   "create-admin NAME [--key FILE|-] [--generate] [--csr FILE] [--out DIR|-]",
		Short: "Make an administrator of the server, who works over HTTPS",
		Long:  createAdminLong,
		Example: `  efsctl create-admin root1 --key root1.asc --out ./root1
  efsctl create-admin root1 --generate --out ./root1
  efsctl revoke root1 --fs @server     # shut out at once`,
		Args: args("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, args[0]); err != nil {
				return err
			}
			return c.createUser(cmd, args[0], f)
		},
	}
	f.keyFlags(cmd)
	return cmd
}

func (c *ctl) listAdminsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list-admins",
		Short:   "List the administrators of the server with their keys and certificates",
		Example: "  efsctl list-admins\n  efsctl list-admins --json",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			admins, err := c.client(cmd).ListUsers(cmd.Context(), efs.ServerRealm)
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, admins)
			}
			return printUsers(cmd, admins)
		},
	}
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) deleteAdminCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "delete-admin NAME",
		Short:   "Forget an administrator, and end the administrator's sessions",
		Example: "  efsctl delete-admin root1",
		Args:    args("NAME"),
		ValidArgsFunction: func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			return c.userNames(cmd, efs.ServerRealm, given), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.client(cmd).DeleteUser(cmd.Context(), efs.ServerRealm, args[0]); err != nil {
				return err
			}
			printLine(cmd, fmt.Sprintf("Deleted administrator '%s'", args[0]))
			return nil
		},
	}
}
