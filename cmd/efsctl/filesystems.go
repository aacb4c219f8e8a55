package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/efs-project/efs/internal/prompt"
	"github.com/spf13/cobra"
)

func (c *ctl) createFSCommand() *cobra.Command {
	var set []string
	cmd := &cobra.Command{
		Use:   "create-fs NAME [--set KEY=VALUE]...",
		Short: "Make a file system with keys of its own",
		Long: `Make a file system with keys, names and users of its own. NAME has 2 to 63
lower-case letters, digits and dashes. It is made wholly or not at all.

--set changes the policy that it begins with: the keys are those of
efsctl policy, and fan_out (2 or 3 levels of directories), which stays as it is
made.`,
		Example: "  efsctl create-fs user-data\n  efsctl create-fs archive --set compression=zstd --set inline_limit=4KiB",
		Args:    args("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.client(cmd).CreateFS(cmd.Context(), args[0], set...)
		},
	}
	setFlag(cmd, &set)
	return cmd
}

func (c *ctl) deleteFSCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete-fs NAME",
		Short: "Destroy a file system: its keys first, then its files",
		Long: `Destroy a file system with everything in it. Its keys are destroyed first: from
then on nothing of it can be read, also from backups of its files, as long as
no backup of the key store is left.`,
		Example:           "  efsctl delete-fs old-data\n  efsctl delete-fs old-data --yes      # in a script",
		Args:              args("NAME"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				if err := confirm(cmd, args[0]); err != nil {
					return err
				}
			}
			return c.client(cmd).DeleteFS(cmd.Context(), args[0])
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirm asks for the name to be typed again.
func confirm(cmd *cobra.Command, name string) error {
	return confirmText(cmd, fmt.Sprintf("This destroys file system %s with its keys and everything in it, for ever.", name), name)
}

// confirmText says what will happen and asks for a name to be typed again.
func confirmText(cmd *cobra.Command, text, name string) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s\nType its name to go on: ", text)
	answer, err := prompt.Read(cmd.Context(), func() (string, error) { return bufio.NewReader(cmd.InOrStdin()).ReadString('\n') }, nil)
	if strings.TrimSpace(answer) == name {
		return nil
	}
	if err != nil && strings.TrimSpace(answer) == "" {
		return fmt.Errorf("not confirmed: nothing was changed; give --yes where nobody can be asked")
	}
	return fmt.Errorf("not confirmed: nothing was changed")
}

func (c *ctl) listFSCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list-fs",
		Short:   "List file systems",
		Example: "  efsctl list-fs\n  efsctl list-fs --json | jq -r '.[].name'",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := c.client(cmd).ListFS(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, list)
			}
			return printFS(cmd, list)
		},
	}
	c.jsonFlag(cmd)
	return cmd
}

// completeFS completes the names of file systems.
func (c *ctl) completeFS(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.fsNames(cmd), cobra.ShellCompDirectiveNoFileComp
}

func (c *ctl) fsNames(cmd *cobra.Command) []string {
	list, err := c.client(cmd).ListFS(cmd.Context())
	if err != nil {
		return nil // completion has nowhere to say why
	}
	names := make([]string, 0, len(list))
	for _, f := range list {
		names = append(names, f.Name)
	}
	return names
}
