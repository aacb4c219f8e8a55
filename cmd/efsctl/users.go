package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// fsFlag adds --fs, which the command needs.
func (c *ctl) fsFlag(cmd *cobra.Command, fs *string) {
	cmd.Flags().StringVar(fs, "fs", "", "file system of the user (required)")
	c.completeFSFlag(cmd)
}

// completeFSFlag completes --fs of a command.
func (c *ctl) completeFSFlag(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("fs", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.fsNames(cmd), cobra.ShellCompDirectiveNoFileComp
	}) // fails only for a flag that does not exist
}

func needFS(cmd *cobra.Command, fs string) error {
	if fs == "" {
		return usageError{fmt.Errorf("%s: --fs is missing: which file system?", cmd.Name())}
	}
	return nil
}

func (c *ctl) listUsersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list-users FS",
		Short:             "List the users of a file system with their keys and certificates",
		Example:           "  efsctl list-users user-data\n  efsctl list-users user-data --json",
		Args:              args("FS"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			users, err := c.client(cmd).ListUsers(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, users)
			}
			return printUsers(cmd, users)
		},
	}
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) deleteUserCommand() *cobra.Command {
	return c.userCommand("delete-user NAME --fs FS", "Forget a user; the user's files stay",
		"Forget a user with keys and certificates, and end the user's sessions and\nconnections at once. Files stay. The name can be given again.",
		"  efsctl delete-user app1 --fs user-data",
		func(cmd *cobra.Command, fs, user string) error {
			if err := c.client(cmd).DeleteUser(cmd.Context(), fs, user); err != nil {
				return err
			}
			printLine(cmd, fmt.Sprintf("Deleted user '%s' of '%s'", user, fs))
			return nil
		})
}

func (c *ctl) revokeCommand() *cobra.Command {
	return c.userCommand("revoke NAME --fs FS", "Shut a user out at once, and keep the record",
		"Revoke every certificate of a user, accept the user's signatures no more, and\nend the user's sessions and connections at once. The record of the user stays.",
		"  efsctl revoke app1 --fs user-data",
		func(cmd *cobra.Command, fs, user string) error {
			if err := c.client(cmd).Revoke(cmd.Context(), fs, user); err != nil {
				return err
			}
			printLine(cmd, fmt.Sprintf("Revoked user '%s' of '%s'", user, fs))
			return nil
		})
}

// userNames completes the first argument: a user of fs.
func (c *ctl) userNames(cmd *cobra.Command, fs string, given []string) (names []string) {
	if fs == "" || len(given) > 0 {
		return nil
	}
	users, err := c.client(cmd).ListUsers(cmd.Context(), fs)
	if err != nil {
		return nil // completion has nowhere to say why
	}
	for _, u := range users {
		names = append(names, u.Name)
	}
	return names
}

// userCommand is a command on one user.
func (c *ctl) userCommand(use, short, long, example string, run func(cmd *cobra.Command, fs, user string) error) *cobra.Command {
	var fs string
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: args("NAME"),
		ValidArgsFunction: func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			return c.userNames(cmd, fs, given), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needFS(cmd, fs); err != nil {
				return err
			}
			return run(cmd, fs, args[0])
		},
	}
	c.fsFlag(cmd, &fs)
	return cmd
}

func (c *ctl) addKeyCommand() *cobra.Command {
	var keyFile string
	cmd := c.userCommand("add-key NAME --fs FS [--key FILE|-]", "Let a user sign with a further public key",
		"Let a user sign with a further public key: OpenPGP, ssh-ed25519 or PEM Ed25519.",
		"  efsctl add-key app1 --fs user-data --key new.asc",
		func(cmd *cobra.Command, fs, user string) error {
			key, err := readPublicKey(cmd, cmd.OutOrStdout(), user, keyFile)
			if err != nil {
				return err
			}
			_, err = c.client(cmd).AddKey(cmd.Context(), fs, user, key)
			return err
		})
	cmd.Flags().StringVar(&keyFile, "key", "", "file with the public key, or - for standard input")
	return cmd
}

func (c *ctl) removeKeyCommand() *cobra.Command {
	var fingerprint string
	cmd := c.userCommand("remove-key NAME --fs FS --fingerprint FINGERPRINT", "Take a public key from a user",
		"Take a public key from a user and end the user's sessions. The last key cannot\nbe taken. list-users shows fingerprints.",
		"  efsctl remove-key app1 --fs user-data --fingerprint SHA256:…",
		func(cmd *cobra.Command, fs, user string) error {
			if fingerprint == "" {
				return usageError{fmt.Errorf("remove-key: --fingerprint is missing: `efsctl list-users %s` shows them", fs)}
			}
			if err := c.client(cmd).RemoveKey(cmd.Context(), fs, user, fingerprint); err != nil {
				return err
			}
			printLine(cmd, fmt.Sprintf("Removed key %s of user '%s'", fingerprint, user))
			return nil
		})
	cmd.Flags().StringVar(&fingerprint, "fingerprint", "", "which key (required)")
	return cmd
}
