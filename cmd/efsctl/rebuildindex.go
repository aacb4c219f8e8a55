package main

import (
	"errors"
	"fmt"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/node"
	"github.com/spf13/cobra"
)

func (c *ctl) rebuildIndexCommand() *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use:   "rebuild-index FS",
		Short: "Make a lost or damaged index anew, from the journal and the contents",
		Long: `Make the index of a file system anew that does not open because its index is
missing or damaged: from the journal that lies beside its contents, which is
seconds behind the index, and from the contents themselves. Users, certificates,
grants, quotas and policies come back with it, and the file system is served.

It says up to which change the journal led. Contents that were stored after that
appear below /recovered, under the path that they were stored at. Files whose
contents were deleted after that are named and removed. The old index is moved
aside, and nothing is deleted from the volume of the contents. Cut off at any
time, it can be begun again.

Where users, certificates, grants or the policy were changed after what the
journal leads to, which the key store knows, nothing is made: who was shut out
then would be let in again. See in the audit log what was changed, give
--accept-rollback, and make the change again.

Exit codes: 0 the journal could be read to its end and every content has its
place, 1 the file system is served, but for what is listed, 2 nothing was made.`,
		Example:           "  efsctl rebuild-index user-data\n  efsctl rebuild-index user-data --json | jq .sequence",
		Args:              args("FS"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.rebuildIndex(cmd, admin.RebuildIndexRequest{FS: args[0], AcceptRollback: accept})
		},
	}
	cmd.Flags().BoolVar(&accept, "accept-rollback", false, "although users, rights or policy were changed after the journal's end")
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) rebuildIndex(cmd *cobra.Command, r admin.RebuildIndexRequest) error {
	done, err := long(c, cmd, bytesProgress("making the index of "+r.FS+" anew"), (*admin.Client).RebuildIndex, r,
		func(cmd *cobra.Command, done node.RebuildResult) { printRebuilt(cmd, r.FS, done) })
	if err == nil && (!done.Complete || len(done.Unopened) > 0 || done.PartlyFiles > 0) {
		return codedError{errors.New("not all of it could be read: see above"), exitFailure}
	}
	return err
}

func printRebuilt(cmd *cobra.Command, fs string, r node.RebuildResult) {
	printPaths(cmd, "stored later, and now at:", r.Recovered, r.RecoveredFiles)
	printPaths(cmd, "removed, as their contents were deleted or replaced later:", r.Gone, r.GoneFiles)
	printPaths(cmd, "of whose contents a part is gone, and which stay as they are:", r.Partly, r.PartlyFiles)
	printPaths(cmd, "uploads in parts that were open; one that was completed later has to be completed again, until it expires:", r.Uploads, int64(len(r.Uploads)))
	printPaths(cmd, "contents that do not open, or have no place, and stay where they are:", r.Unopened, int64(len(r.Unopened)))
	if r.Mended > 0 {
		printLine(cmd, plural(r.Mended, "record of the tree was", "records of the tree were")+" lost with a part of the journal, and made anew from what refers to them")
	}
	printLine(cmd, fmt.Sprintf("File system %s is served as of change %d: %s, %s. Its changes go on from %d.",
		fs, r.Sequence, plural(r.Files+r.RecoveredFiles-r.GoneFiles, "file", "files"), bytesText(r.Bytes), r.GoesOn))
}

// printPaths lists the first of n paths.
func printPaths(cmd *cobra.Command, what string, paths []string, n int64) {
	if n == 0 {
		return
	}
	printLine(cmd, fmt.Sprintf("%d %s", n, what))
	for _, p := range paths {
		printLine(cmd, "    "+p)
	}
	if more := n - int64(len(paths)); more > 0 {
		printLine(cmd, fmt.Sprintf("    and %d more", more))
	}
}
