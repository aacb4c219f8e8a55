package main

import "github.com/spf13/cobra"

// addGroups adds all commands, in the groups that help shows them in.
func (c *ctl) addGroups(root *cobra.Command) {
	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"server", "The server:", []*cobra.Command{
			c.initCommand(), c.unsealCommand(), c.statusCommand(), c.reloadCommand(), c.clearCacheCommand(), c.auditCommand(),
			c.createAdminCommand(), c.listAdminsCommand(), c.deleteAdminCommand(),
		}},
		{"fs", "File systems:", []*cobra.Command{
			c.createFSCommand(), c.listFSCommand(), c.deleteFSCommand(), c.policyCommand(), c.quotaCommand(), c.limitCommand(),
			c.resealCommand(), c.jobsCommand(), c.fsckCommand(), c.resolveCommand(),
		}},
		{"users", "Users and what they may do:", []*cobra.Command{
			c.createUserCommand(), c.listUsersCommand(), c.deleteUserCommand(), c.revokeCommand(), c.addKeyCommand(), c.removeKeyCommand(),
			c.grantCommand(), c.revokeGrantCommand(), c.listGrantsCommand(),
		}},
		{"keys", "Keys:", []*cobra.Command{
			c.kmsCommand(), c.rotateCommand(), c.retireEpochCommand(), c.rotateKMSCommand(), c.rotateStarterCommand(), c.rotateJWTCommand(),
			c.rotateCACommand(), c.backupKeysCommand(), c.restoreKeysCommand(),
		}},
		{"backup", "Backups:", []*cobra.Command{
			c.backupCommand(), c.restoreCommand(), c.drillCommand(), c.rebuildIndexCommand(),
		}},
		{"forget", "Forgetting:", []*cobra.Command{
			c.forgetCommand(), c.receiptsCommand(), c.receiptKeyCommand(), c.verifyReceiptCommand(),
		}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, cmd := range g.commands {
			cmd.GroupID = g.id
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(versionCommand())
}
