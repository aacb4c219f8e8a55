package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/plain"
	"github.com/spf13/cobra"
)

func (c *ctl) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
}

func printJSON(cmd *cobra.Command, v any) error {
	if err := plain.JSON(cmd.OutOrStdout(), v, "  "); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// table prints rows in columns, the first row being the heading.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(t, strings.Join(row, "\t")); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func printFS(cmd *cobra.Command, list []node.FSStatus) error {
	rows := [][]string{{"NAME", "STATE", "FILES", "BYTES", "USERS", "CREATED"}}
	for _, f := range list {
		rows = append(rows, []string{f.Name, f.State, fmt.Sprint(f.Files), bytesText(f.Bytes), fmt.Sprint(f.Users), f.Created.Format(time.DateOnly)})
	}
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	for _, f := range list {
		if f.Reason != "" {
			printLine(cmd, fmt.Sprintf("%s: %s", f.Name, f.Reason))
		}
	}
	return nil
}

func printUsers(cmd *cobra.Command, users []access.User) error {
	rows := [][]string{{"NAME", "STATE", "KEY", "CERTIFICATE UNTIL", "CREATED"}}
	for _, u := range users {
		state, until := "active", "-"
		if u.Revoked != nil {
			state = "revoked"
		}
		var newest time.Time
		for _, c := range u.Certificates {
			if c.Revoked == nil && c.NotAfter.After(newest) {
				newest = c.NotAfter
				until = newest.Format(time.DateOnly)
			}
		}
		for i, k := range u.Keys {
			row := []string{"", "", string(k.Kind) + " " + k.Fingerprint, "", ""}
			if i == 0 {
				row = []string{u.Name, state, row[2], until, u.Created.Format(time.DateOnly)}
			}
			rows = append(rows, row)
		}
	}
	return table(cmd.OutOrStdout(), rows)
}

// plural writes a number with what there is so many of.
func plural[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// bytesText writes a size in binary units, three digits or so.
func bytesText(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}
