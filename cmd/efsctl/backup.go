package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/backup"
	"github.com/efs-project/efs/internal/node"
	"github.com/spf13/cobra"
)

func (c *ctl) backupCommand() *cobra.Command {
	var r admin.BackupRequest
	var list bool
	cmd := &cobra.Command{
		Use:   "backup FS DIR [--keep N]",
		Short: "Back a file system up while it is in use",
		Long: `Back a file system up, as of one change while clients go on writing, in a
directory of its own. The first backup copies all contents, later ones those
that are new; each can be restored by itself. One that was cut off is not there,
and the next goes on with what it has copied.

The server writes DIR, as the user it runs as, so DIR is named as the server
sees it (in a container: a mounted volume), and lies outside its root. What is in
it is sealed; the keys are not in it: they have backups of their own, which
expire (efsctl backup-keys). Without both nothing can be restored.

Exit codes: 0 done, 1 done but contents are missing in the file system itself
(efsctl fsck tells which), 2 not done.`,
		Example: `  efsctl backup user-data /backup/user-data
  efsctl backup user-data /backup/user-data --keep 30
  efsctl backup --list /backup/user-data`,
		Args: func(cmd *cobra.Command, given []string) error {
			if list {
				return args("DIR")(cmd, given)
			}
			return args("FS", "DIR")(cmd, given)
		},
		ValidArgsFunction: func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
			if list || len(given) == 1 {
				return nil, cobra.ShellCompDirectiveFilterDirs
			}
			return c.completeFS(cmd, given, typed)
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if r.Dir, err = targetDir(args[len(args)-1]); err != nil {
				return err
			}
			if list {
				return c.listBackups(cmd, r.Dir)
			}
			if cmd.Flags().Changed("keep") && r.Keep < 1 {
				return usageError{errors.New("backup: --keep: keep at least one")}
			}
			r.FS = args[0]
			return c.backup(cmd, r)
		},
	}
	cmd.Flags().IntVar(&r.Keep, "keep", 0, "afterwards remove all but the `N` newest backups in DIR")
	cmd.Flags().BoolVar(&list, "list", false, "show the backups in DIR; make none")
	c.jsonFlag(cmd)
	return cmd
}

// targetDir is the directory that a command names, absolute.
func targetDir(arg string) (string, error) {
	if strings.Contains(arg, "://") {
		return "", codedError{fmt.Errorf("'%s': backups are made in directories that the server can reach: mount the target there", arg), exitUsage}
	}
	return filepath.Abs(arg)
}

func (c *ctl) backup(cmd *cobra.Command, r admin.BackupRequest) error {
	done, err := long(c, cmd, bytesProgress("backing up "+r.FS), (*admin.Client).Backup, r, printBackup)
	if err == nil && done.Lost > 0 {
		err = codedError{fmt.Errorf("%d contents are missing in the file system itself and are in no backup of today: efsctl fsck %s tells which", done.Lost, r.FS), exitFailure}
	}
	return err
}

func printBackup(cmd *cobra.Command, b node.BackupResult) {
	printLine(cmd, fmt.Sprintf("Backup %s of file system %s: %s, %s, as of change %d.", b.Name, b.FSName, plural(b.Files, "file", "files"), bytesText(b.Bytes), b.Sequence))
	printLine(cmd, fmt.Sprintf("%s, %d of them (%s) copied now; index of %s.", plural(b.Contents, "content", "contents"), b.Copied, bytesText(b.CopiedBytes), bytesText(b.IndexBytes)))
	if p := b.Pruned; p != nil {
		printLine(cmd, fmt.Sprintf("%s removed, with %s (%s).", plural(len(p.Backups), "older backup", "older backups"), plural(p.Contents, "content", "contents"), bytesText(p.Bytes)))
	}
}

func (c *ctl) listBackups(cmd *cobra.Command, dir string) error {
	all, err := c.client(cmd).ListBackups(cmd.Context(), dir)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(cmd, all)
	}
	return table(cmd.OutOrStdout(), backupRows(all))
}

// completeBackups offers the backups in the directory that is named already.
func (c *ctl) completeBackups(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(given) > 0 {
		if dir, err := targetDir(given[0]); err == nil {
			all, _ := c.client(cmd).ListBackups(cmd.Context(), dir) // completion has nowhere to say why not
			for _, m := range all {
				names = append(names, m.Name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func backupRows(all []backup.Manifest) [][]string {
	rows := [][]string{{"BACKUP", "OF", "MADE", "CHANGE", "FILES", "SIZE"}}
	for _, m := range all {
		rows = append(rows, []string{m.Name, m.FSName, m.Begun.Format(time.DateTime), fmt.Sprint(m.Sequence), fmt.Sprint(m.Files), bytesText(m.Bytes)})
	}
	return rows
}

func (c *ctl) restoreCommand() *cobra.Command {
	var r admin.RestoreRequest
	cmd := &cobra.Command{
		Use:   "restore DIR [--backup WHICH] [--verify]",
		Short: "Bring a file system back from a backup",
		Long: `Bring back the file system that the backups in DIR are of, with its users,
grants, policies and quotas, and serve it: certificates and keys of its users are
good as before. The newest backup is taken unless --backup names another: by its
name as --list shows it, by its change, or by a time, for the last one until then.

The server must have its keys, and must not have the file system: nothing is
restored over anything. On a new machine begin with efsctl init --from.

Every content is opened; with --verify it is read whole and its digest compared.
Exit codes: 0 restored, 1 restored but for what is listed, 2 not restored.`,
		Example: `  efsctl restore /backup/user-data
  efsctl restore /backup/user-data --backup 2026-05-04 --verify`,
		Args: args("DIR"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if r.Dir, err = targetDir(args[0]); err != nil {
				return err
			}
			return c.restore(cmd, r)
		},
	}
	cmd.Flags().StringVar(&r.Backup, "backup", "", "`WHICH` one: a name, a change, a date or a time (RFC 3339)")
	_ = cmd.RegisterFlagCompletionFunc("backup", c.completeBackups)
	cmd.Flags().BoolVar(&r.Verify, "verify", false, "read every content whole and compare its digest")
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) restore(cmd *cobra.Command, r admin.RestoreRequest) error {
	done, err := long(c, cmd, bytesProgress("restoring"), (*admin.Client).Restore, r, printRestored)
	if err == nil && len(done.Problems)+int(done.Lost) > 0 {
		err = codedError{fmt.Errorf("%d contents are not in the backup, the check found %d problems", done.Lost, len(done.Problems)), exitFailure}
	}
	return err
}

func printRestored(cmd *cobra.Command, r node.RestoreResult) {
	for _, p := range r.Problems {
		printLine(cmd, fmt.Sprintf("%s: %s %s", p.Kind, p.Detail, p.Path))
	}
	how := "every content was opened"
	if r.Verified {
		how = "every content was read and agrees with its digest"
	}
	if len(r.Problems) > 0 {
		how = "the rest is there"
	}
	printLine(cmd, fmt.Sprintf("File system %s is restored as of change %d: %s, %s; %s.", r.FSName, r.Sequence, plural(r.Files, "file", "files"), bytesText(r.Bytes), how))
}

func (c *ctl) drillCommand() *cobra.Command {
	var r admin.DrillRequest
	cmd := &cobra.Command{
		Use:   "drill FS [--backup DIR]",
		Short: "Restore a backup apart from the file system, and compare",
		Long: `Restore a backup into a directory of its own, apart from the file system in
service, read every file of it, compare every digest with the one in service as
of the same change, and remove it again. Without --backup a backup is made for
the drill; its contents are linked where the volume has links, so it takes little
room. With --backup the newest one in DIR is taken, and what has not changed
since is compared. Nothing decrypted is written anywhere.

Exit codes: 0 all is the same, 1 there are differences, 2 the drill did not run.`,
		Example:           "  efsctl drill user-data\n  efsctl drill user-data --backup /backup/user-data --json > drill.json",
		Args:              args("FS"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r.FS = args[0]
			if r.Dir != "" {
				if r.Dir, err = targetDir(r.Dir); err != nil {
					return err
				}
			}
			return c.drill(cmd, r)
		},
	}
	cmd.Flags().StringVar(&r.Dir, "backup", "", "take the newest backup in `DIR`")
	_ = cmd.MarkFlagDirname("backup") // the flag is there
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) drill(cmd *cobra.Command, r admin.DrillRequest) error {
	done, err := long(c, cmd, bytesProgress("drill of "+r.FS), (*admin.Client).Drill, r, printDrill)
	if err == nil && len(done.Differences)+int(done.Lost) > 0 {
		err = codedError{fmt.Errorf("%d differences, %d contents are missing", len(done.Differences), done.Lost), exitFailure}
	}
	return err
}

func printDrill(cmd *cobra.Command, r node.DrillReport) {
	for _, d := range r.Differences {
		printLine(cmd, d.Path+": "+d.What)
	}
	printLine(cmd, fmt.Sprintf("Drill of file system %s, backup %s, change %d: %s, %s, %s, %s, in %.1f s; %s compared with those in service.",
		r.FS, r.Backup, r.Sequence, plural(r.Files, "file", "files"), bytesText(r.Bytes), plural(r.Symlinks, "symbolic link", "symbolic links"),
		plural(r.Directories, "directory", "directories"), r.Seconds, plural(r.Compared, "entry", "entries")))
	if len(r.Differences)+int(r.Lost) == 0 {
		printLine(cmd, "No differences.")
	}
}
