package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/efs-project/efs/internal/node"
	"github.com/spf13/cobra"
)

func (c *ctl) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the server and its file systems are",
		Long: `Show the server's state, its certificate, its file systems, and what did not fit
when it started, such as exports that somebody replaced.`,
		Example: "  efsctl status\n  efsctl status --json | jq .state",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.client(cmd).Status(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, s)
			}
			return printStatus(cmd, s)
		},
	}
	c.jsonFlag(cmd)
	return cmd
}

func printStatus(cmd *cobra.Command, s node.Status) error {
	rows := [][]string{
		{"State:", string(s.State)},
		{"Version:", s.Version},
		{"Root:", s.Root},
		{"Started:", s.Started.Format(time.RFC3339)},
		{"Instance:", s.Instance.String()},
	}
	if c := s.Certificate; c != nil {
		rows = append(rows,
			[]string{"Certificate:", "SHA-256 " + c.SHA256},
			[]string{"", "for " + strings.Join(c.Names, ", ")},
			[]string{"", "until " + c.NotAfter.Format(time.DateOnly)},
			[]string{"Sessions:", fmt.Sprint(s.Sessions)})
	}
	if c := s.Cache; c != nil {
		rows = append(rows, []string{"Cache:", fmt.Sprintf("%d decrypted files in %s of %s, %d hits, %d misses",
			c.Files, bytesText(c.Bytes), bytesText(c.Size), c.Hits, c.Misses)})
	}
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	for _, f := range s.FileSystems {
		printLine(cmd, "")
		if err := printFSStatus(cmd, f); err != nil {
			return err
		}
	}
	printList(cmd, "Not ready, or not all of it:", s.Reasons)
	printList(cmd, "Found at start:", s.Problems)
	return nil
}

func printFSStatus(cmd *cobra.Command, f node.FSStatus) error {
	rows := [][]string{{"File system:", f.Name}, {"State:", f.State}, {"Id:", f.ID.String()}}
	if f.State == "open" {
		var stages []string
		for _, s := range f.Policy.Stages {
			stages = append(stages, fmt.Sprintf("%s with %s/%s", s.Algorithm, s.Provider, s.KeyID))
		}
		rows = append(rows,
			[]string{"Contents:", fmt.Sprintf("%d files, %s", f.Files, bytesText(f.Bytes))},
			[]string{"Users:", fmt.Sprint(f.Users)},
			[]string{"Sealed by:", strings.Join(stages, ", then ")},
			[]string{"Index:", fmt.Sprintf("%s, change %d, anchored at %d", bytesText(f.IndexBytes), f.Seq, f.AnchorSeq)},
			[]string{"Journal:", journalText(f)},
			[]string{"Backup:", backupText(f)},
			[]string{"Placement:", fmt.Sprintf("%s, %d levels of directories", f.Volume, f.FanOut)})
	}
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	if f.Reason != "" {
		printLine(cmd, "Reason: "+f.Reason)
	}
	for _, p := range f.Problems {
		printLine(cmd, "Found at start: "+p)
	}
	return nil
}

func printList(cmd *cobra.Command, head string, lines []string) {
	if len(lines) == 0 {
		return
	}
	printLine(cmd, "\n"+head)
	for _, l := range lines {
		printLine(cmd, "- "+l)
	}
}

// journalText tells how far the journal is.
func journalText(f node.FSStatus) string {
	j := f.Journal
	if j == nil {
		return "none is kept"
	}
	text := fmt.Sprintf("%s, %s, leads to change %d", j.State, bytesText(j.Bytes), j.Seq)
	if j.Reason != "" {
		text += ": " + j.Reason
	}
	return text
}

func backupText(f node.FSStatus) string {
	if f.Backup.IsZero() {
		return "none was made"
	}
	return "the newest of " + f.Backup.Format(time.DateTime)
}
