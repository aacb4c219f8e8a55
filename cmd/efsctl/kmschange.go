package main

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/node"
	"github.com/spf13/cobra"
)

// keyOptions are the flags that say something about a master key.
type keyOptions struct {
	description string
	tags        []string
}

func (o *keyOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.description, "description", "", "what the key is for")
	cmd.Flags().StringArrayVar(&o.tags, "tag", nil, "KEY=VALUE; may be given again")
}

// apply puts what was given over what is said about a key already.
func (o *keyOptions) apply(cmd *cobra.Command, now efs.KeyOptions) (efs.KeyOptions, error) {
	if cmd.Flags().Changed("description") {
		now.Description = o.description
	}
	tags := maps.Clone(now.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	for _, t := range o.tags {
		k, v, ok := strings.Cut(t, "=")
		if !ok || k == "" {
			return now, usageError{fmt.Errorf("%s: --tag %q is not KEY=VALUE", cmd.Name(), t)}
		}
		tags[k] = v
	}
	now.Tags = tags
	return now, nil
}

func (c *ctl) kmsCreateCommand() *cobra.Command {
	var o keyOptions
	cmd, provider := c.keyCommand("create", "Make a master key", `Make a master key, in the local KMS unless --provider names another.`,
		"  efsctl kms create my-key\n  efsctl kms create my-key --provider vault --description \"of the payroll\" --tag team=payroll")
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	o.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		options, err := o.apply(cmd, efs.KeyOptions{})
		if err != nil {
			return err
		}
		k, err := c.client(cmd).CreateKey(cmd.Context(), admin.KMSKeyRequest{Provider: *provider, KeyID: given[0], Options: options})
		if err != nil {
			return err
		}
		return c.printKey(cmd, k)
	}
	return cmd
}

func (c *ctl) kmsUpdateCommand() *cobra.Command {
	var o keyOptions
	var drop []string
	cmd, provider := c.keyCommand("update", "Change the description and the tags of a master key",
		"Change the description and the tags of a master key. What is not given stays.",
		"  efsctl kms update my-key --description \"of the payroll\" --tag team=payroll\n  efsctl kms update my-key --drop-tag team")
	o.flags(cmd)
	cmd.Flags().StringArrayVar(&drop, "drop-tag", nil, "KEY of a tag to take away; may be given again")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if cmd.Flags().NFlag() == 0 {
			return usageError{fmt.Errorf("update: nothing to change: give --description, --tag or --drop-tag")}
		}
		client := c.client(cmd)
		k, err := client.DescribeKey(cmd.Context(), admin.KMSKeyRequest{Provider: *provider, KeyID: given[0]})
		if err != nil {
			return err
		}
		options, err := o.apply(cmd, k.KeyOptions)
		if err != nil {
			return err
		}
		for _, t := range drop {
			delete(options.Tags, t)
		}
		if k, err = client.UpdateKey(cmd.Context(), admin.KMSKeyRequest{Provider: k.Provider, KeyID: k.ID, Options: options}); err != nil {
			return err
		}
		return c.printKey(cmd, k)
	}
	return cmd
}

func (c *ctl) kmsDisableCommand() *cobra.Command {
	var yes bool
	cmd, provider := c.keyCommand("disable", "End the use of a master key, at once",
		`End the use of a master key until it is enabled again. The file systems whose
keys it wraps neither read nor write from that moment on.`,
		"  efsctl kms disable my-key\n  efsctl kms disable my-key --yes      # in a script")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		client := c.client(cmd)
		k, err := client.DescribeKey(cmd.Context(), admin.KMSKeyRequest{Provider: *provider, KeyID: given[0]})
		if err != nil {
			return err
		}
		if len(k.FileSystems) > 0 && !yes {
			text := fmt.Sprintf("This stops every read and write of %s until key %s is enabled again.", fileSystems(k), k.ID)
			if err := confirmText(cmd, text, k.ID); err != nil {
				return err
			}
		}
		if k, err = client.DisableKey(cmd.Context(), admin.KMSKeyRequest{Provider: k.Provider, KeyID: k.ID}); err != nil {
			return err
		}
		return c.printKey(cmd, k)
	}
	return cmd
}

const deleteLong = `Disable a master key at once, and destroy it when the wait is over. Until then
'efsctl kms cancel-deletion' keeps it.

A key that wraps keys of file systems is refused: when it is gone, nothing of
them can be read again. --force says that this is wanted.`

func (c *ctl) kmsDeleteCommand() *cobra.Command {
	var yes, force bool
	var after string
	cmd, provider := c.keyCommand("schedule-deletion", "Destroy a master key after a while", deleteLong,
		"  efsctl kms schedule-deletion my-key --after 7d\n  efsctl kms schedule-deletion my-key --after 30d --yes")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&force, "force", false, "also a key that wraps keys of file systems, which are lost with it")
	cmd.Flags().StringVar(&after, "after", "", "how long to wait: 1d to 30d (default: kms.deletion_wait of the server, 7d)")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		wait, err := parseWait(after)
		if err != nil || after != "" && wait <= 0 {
			return usageError{fmt.Errorf("schedule-deletion: --after %q is no duration: 7d, 36h", after)}
		}
		client := c.client(cmd)
		k, err := client.DescribeKey(cmd.Context(), admin.KMSKeyRequest{Provider: *provider, KeyID: given[0]})
		if err != nil {
			return err
		}
		if len(k.FileSystems) > 0 && !force {
			return fmt.Errorf("key %s/%s wraps the keys of %s, which nobody could read again: nothing was changed. "+
				"Put them under another key first (efsctl policy FS --set kms_key_id=KEY, then efsctl retire-epoch "+
				"for the epochs that `efsctl rotate FS --list` shows under this one), or give --force if they are to be lost", k.Provider, k.ID, fileSystems(k))
		}
		if !yes {
			if err := confirmText(cmd, deletionText(k, wait), k.ID); err != nil {
				return err
			}
		}
		r := admin.KMSKeyRequest{Provider: k.Provider, KeyID: k.ID, Wait: wait, Force: force}
		if k, err = client.ScheduleKeyDeletion(cmd.Context(), r); err != nil {
			return err
		}
		return c.printKey(cmd, k)
	}
	return cmd
}

func deletionText(k node.KeyStatus, wait time.Duration) string {
	when := "after the server's waiting time (kms.deletion_wait)"
	if wait > 0 {
		when = "in " + wait.String()
	}
	what := fmt.Sprintf("This disables key %s/%s now and destroys it %s.", k.Provider, k.ID, when)
	if len(k.FileSystems) > 0 {
		what += fmt.Sprintf("\nNothing of %s can be read from now on, and after that never again.", fileSystems(k))
	}
	return what
}

// parseWait reads a duration in which d is a day.
func parseWait(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}
