package main

import (
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/spf13/cobra"
)

func (c *ctl) fsckCommand() *cobra.Command {
	var deep, repair bool
	cmd := &cobra.Command{
		Use:   "fsck FS [--deep] [--repair]",
		Short: "Check a file system while it is in use",
		Long: `Check every entry against its content, every content against the index, and the
chain of changes against the head, while clients read and write.

--deep reads and verifies every content whole. --repair puts contents that
nothing refers to into quarantine for seven days and mends what can be computed;
it never deletes a user's data.

Exit codes: 0 clean, 1 problems were found, 2 the check could not run.`,
		Example:           "  efsctl fsck user-data\n  efsctl fsck user-data --deep --json > report.json",
		Args:              args("FS"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.fsck(cmd, admin.FsckRequest{FS: args[0], Deep: deep, Repair: repair})
		},
	}
	cmd.Flags().BoolVar(&deep, "deep", false, "read and verify every content whole")
	cmd.Flags().BoolVar(&repair, "repair", false, "quarantine contents that nothing refers to, mend what can be computed")
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) fsck(cmd *cobra.Command, r admin.FsckRequest) error {
	report, err := long(c, cmd, countProgress("checking "+r.FS), (*admin.Client).Fsck, r,
		func(cmd *cobra.Command, report fsys.FsckReport) { printReport(cmd, r.FS, report) })
	if err != nil {
		return err
	}
	if len(report.Left()) > 0 {
		return codedError{errors.New(""), exitFailure}
	}
	return nil
}

func printReport(cmd *cobra.Command, fs string, r fsys.FsckReport) {
	how := "checked"
	if r.Deep {
		how = "checked deeply"
	}
	printLine(cmd, fmt.Sprintf("File system %s %s: %d files, %d directories, %d contents, %s, %d changes in the log, %d contents waiting to be released",
		fs, how, r.Files, r.Directories, r.Contents, bytesText(r.Bytes), r.Changes, r.Queued))
	for _, p := range r.Problems {
		state := ""
		if p.Repaired {
			state = " (repaired)"
		}
		printLine(cmd, fmt.Sprintf("%s%s: %s", p.Kind, state, p.Detail))
		if p.Path != "" {
			printLine(cmd, "    path: "+p.Path)
		}
		if p.ID != "" {
			printLine(cmd, "    id: "+p.ID)
		}
		if p.Remedy != "" {
			printLine(cmd, "    do: "+p.Remedy)
		}
	}
	switch n := len(r.Problems); n {
	case 0:
		printLine(cmd, "Clean.")
	case 1:
		printLine(cmd, "1 problem.")
	default:
		printLine(cmd, fmt.Sprintf("%d problems.", n))
	}
}

func (c *ctl) resolveCommand() *cobra.Command {
	var fs string
	cmd := &cobra.Command{
		Use:   "resolve ID [--fs FS]",
		Short: "Turn a file's id from a log into its path",
		Long: `Turn the id of a file or directory, as logs carry it, into its present path.
Logs have no clear paths; this is how an administrator reads them.`,
		Example: "  efsctl resolve 0199b8a4-7d0e-7c61-9a54-1f2d3c4b5a69",
		Args:    args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := efs.ParseID(args[0])
			if err != nil {
				return usageError{fmt.Errorf("resolve: %q is no id such as 0199b8a4-7d0e-7c61-9a54-1f2d3c4b5a69", args[0])}
			}
			found, err := c.client(cmd).Resolve(cmd.Context(), id, fs)
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, found)
			}
			for _, f := range found {
				printLine(cmd, f.FS+":"+f.Path)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&fs, "fs", "", "look in this file system alone")
	c.completeFSFlag(cmd)
	c.jsonFlag(cmd)
	return cmd
}
