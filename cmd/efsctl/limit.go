package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/config"
	"github.com/spf13/cobra"
)

func (c *ctl) limitCommand() *cobra.Command {
	var requests, bandwidth string
	var uploads int
	var drop bool
	cmd := &cobra.Command{
		Use:   "limit [USER@]FS",
		Short: "Bound what a user may take of the server at a time",
		Long: `Bound what a user may take of the server at a time, over all connections:
requests a second (more are answered with 429), bandwidth of bodies in both
directions (held back), and large uploads under way (429).

FS alone sets what holds for every user without limits of their own. Limits
hold from the next request on. What is not given stays; 0 is no bound. Without
flags the limits of the file system are shown.`,
		Example: `  efsctl limit app1@user-data --requests 100/s --bandwidth 10MiB/s --uploads 8
  efsctl limit user-data --requests 500/s
  efsctl limit app1@user-data --drop
  efsctl limit user-data --json`,
		Args:              args("[USER@]FS"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := admin.LimitRequest{FS: args[0], Drop: drop}
			if user, fs, ok := strings.Cut(args[0], "@"); ok {
				r.User, r.FS = user, fs
			}
			set := cmd.Flags().Changed("requests") || cmd.Flags().Changed("bandwidth") || cmd.Flags().Changed("uploads")
			if set && drop {
				return usageError{fmt.Errorf("limit: --drop takes all limits away; give it alone")}
			}
			client := c.client(cmd)
			if set {
				now, err := client.Limit(cmd.Context(), admin.LimitRequest{FS: r.FS, User: r.User})
				if err != nil {
					return err
				}
				l, err := changedLimits(cmd, now[r.User], requests, bandwidth, uploads)
				if err != nil {
					return usageError{err}
				}
				r.Set = &l
			}
			all, err := client.Limit(cmd.Context(), r)
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, all)
			}
			return printLimits(cmd, all)
		},
	}
	f := cmd.Flags()
	f.StringVar(&requests, "requests", "", "requests a second, such as 100/s; 0 for no bound")
	f.StringVar(&bandwidth, "bandwidth", "", "bytes a second, such as 10MiB/s; 0 for no bound")
	f.IntVar(&uploads, "uploads", 0, "large uploads under way at the same time; 0 for no bound of the user's own")
	f.BoolVar(&drop, "drop", false, "take the limits away")
	c.jsonFlag(cmd)
	return cmd
}

// changedLimits is l with the flags that were given.
func changedLimits(cmd *cobra.Command, l access.Limits, requests, bandwidth string, uploads int) (access.Limits, error) {
	if cmd.Flags().Changed("requests") {
		n, err := strconv.ParseFloat(strings.TrimSuffix(requests, "/s"), 64)
		if err != nil {
			return l, fmt.Errorf("--requests: %q is no rate such as 100/s", requests)
		}
		l.Requests = n
	}
	if cmd.Flags().Changed("bandwidth") {
		var n config.Size
		if err := n.UnmarshalText([]byte(strings.TrimSuffix(bandwidth, "/s"))); err != nil {
			return l, fmt.Errorf("--bandwidth: %q is no rate such as 10MiB/s", bandwidth)
		}
		l.Bandwidth = int64(n)
	}
	if cmd.Flags().Changed("uploads") {
		l.Uploads = uploads
	}
	return l, nil
}

func printLimits(cmd *cobra.Command, all map[string]access.Limits) error {
	if len(all) == 0 {
		printLine(cmd, "No limits are set.")
		return nil
	}
	rows := [][]string{{"USER", "REQUESTS", "BANDWIDTH", "UPLOADS"}}
	for _, user := range slices.Sorted(maps.Keys(all)) {
		l, row := all[user], []string{user, "-", "-", "-"}
		if user == "" {
			row[0] = "(all others)"
		}
		if l.Requests > 0 {
			row[1] = strconv.FormatFloat(l.Requests, 'g', -1, 64) + "/s"
		}
		if l.Bandwidth > 0 {
			row[2] = bytesText(l.Bandwidth) + "/s"
		}
		if l.Uploads > 0 {
			row[3] = strconv.Itoa(l.Uploads)
		}
		rows = append(rows, row)
	}
	return table(cmd.OutOrStdout(), rows)
}
