package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/config"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/spf13/cobra"
)

// resealFlags are what retire-epoch and reseal have in common.
type resealFlags struct {
	rate string
	wait bool
}

func (f *resealFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.rate, "rate", "50MiB/s", "seal at most so much anew; 0 for no bound")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "return when it is done")
}

// bytes reads the rate.
func (f *resealFlags) bytes(cmd *cobra.Command) (int64, error) {
	var size config.Size
	if err := size.UnmarshalText([]byte(strings.TrimSuffix(f.rate, "/s"))); err != nil {
		return 0, usageError{fmt.Errorf("%s: --rate: %q is no rate such as 50MiB/s", cmd.Name(), f.rate)}
	}
	return int64(size), nil
}

func (c *ctl) retireEpochCommand() *cobra.Command {
	var flags resealFlags
	cmd := &cobra.Command{
		Use:   "retire-epoch FS EPOCH [--rate 50MiB/s] [--wait]",
		Short: "Seal anew what an epoch's keys sealed, and destroy the keys",
		Long: `Seal anew, with the newest keys and under the present policy, every content that
an epoch's keys sealed; wait until the old contents are deleted; then destroy the
epoch's keys. It is done in the background while clients read and write, and
gone on with after a restart: efsctl jobs shows how far it is. The newest epoch is
succeeded by another first. Files keep their versions and ETags.

Backups of contents made before open only with a backup of the keys from then.`,
		Example:           "  efsctl retire-epoch user-data 1\n  efsctl retire-epoch user-data 1 --rate 200MiB/s --wait",
		Args:              args("FS", "EPOCH"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			epoch, err := strconv.Atoi(args[1])
			if err != nil || epoch < 1 {
				return usageError{fmt.Errorf("retire-epoch: %q is no number of an epoch, such as 1", args[1])}
			}
			r := admin.ResealRequest{FS: args[0], Epoch: epoch}
			if r.Rate, err = flags.bytes(cmd); err != nil {
				return err
			}
			job, err := c.client(cmd).RetireEpoch(cmd.Context(), r)
			return c.begun(cmd, r.FS, job, flags.wait, err)
		},
	}
	flags.add(cmd)
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) resealCommand() *cobra.Command {
	var flags resealFlags
	cmd := &cobra.Command{
		Use:   "reseal FS [--rate 50MiB/s] [--wait]",
		Short: "Seal anew what was sealed under an older policy",
		Long: `Seal anew, under the present policy, every content that was sealed under an
older one, in the background while clients read and write. Files keep their
versions and ETags. Keys stay: see efsctl retire-epoch for that.`,
		Example:           "  efsctl reseal user-data --wait",
		Args:              args("FS"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r := admin.ResealRequest{FS: args[0]}
			if r.Rate, err = flags.bytes(cmd); err != nil {
				return err
			}
			job, err := c.client(cmd).Reseal(cmd.Context(), r)
			return c.begun(cmd, r.FS, job, flags.wait, err)
		},
	}
	flags.add(cmd)
	c.jsonFlag(cmd)
	return cmd
}

// begun tells of a job that was begun, and waits for it if asked to.
func (c *ctl) begun(cmd *cobra.Command, fs string, job fsys.Job, wait bool, err error) error {
	if err != nil {
		return err
	}
	if wait {
		client := c.client(cmd)
		clear := showProgress(client, countProgress(fs))
		job, err = client.WaitJob(cmd.Context(), fs, job.ID)
		clear()
		if err != nil {
			return fmt.Errorf("%w; the job goes on: efsctl jobs %s", err, fs)
		}
	}
	if c.json {
		err = printJSON(cmd, job)
	} else {
		printLine(cmd, jobText(&job))
	}
	if err == nil && (job.State == fsys.JobFailed || job.State == fsys.JobCanceled) {
		return codedError{errors.New(""), exitFailure}
	}
	return err
}

// jobText is a job in a line.
func jobText(j *fsys.Job) string {
	what := j.Kind
	if j.Epoch != 0 {
		what += fmt.Sprint(" ", j.Epoch)
	}
	text := fmt.Sprintf("%s: job %s, %s, %d contents sealed anew, %s", what, j.ID, j.State, j.Files, bytesText(j.Bytes))
	if j.Detail != "" {
		text += ": " + j.Detail
	}
	return text
}

func (c *ctl) jobsCommand() *cobra.Command {
	var cancel string
	cmd := &cobra.Command{
		Use:               "jobs FS [--cancel ID]",
		Short:             "Show what is being done to a file system in the background",
		Long:              "Show the jobs of a file system, oldest first: those that are not done, and the\nlast that are. --cancel ends one where it is; what it has done stays done.",
		Example:           "  efsctl jobs user-data\n  efsctl jobs user-data --cancel 0199b8a4-7d0e-7c61-9a54-1f2d3c4b5a69",
		Args:              args("FS"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cancel != "" {
				id, err := efs.ParseID(cancel)
				if err != nil {
					return usageError{fmt.Errorf("jobs: %q is no id of a job", cancel)}
				}
				if err := c.client(cmd).CancelJob(cmd.Context(), args[0], id); err != nil {
					return err
				}
			}
			jobs, err := c.client(cmd).Jobs(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, jobs)
			}
			return printJobs(cmd, jobs)
		},
	}
	cmd.Flags().StringVar(&cancel, "cancel", "", "end the job with this id")
	c.jsonFlag(cmd)
	return cmd
}

func printJobs(cmd *cobra.Command, jobs []fsys.Job) error {
	if len(jobs) == 0 {
		printLine(cmd, "No jobs.")
		return nil
	}
	rows := [][]string{{"JOB", "WHAT", "STATE", "PASS", "LOOKED AT", "SEALED ANEW", "STARTED", "ENDED"}}
	for i := range jobs {
		j := &jobs[i]
		what, ended := j.Kind, "-"
		if j.Epoch != 0 {
			what += fmt.Sprint(" ", j.Epoch)
		}
		if !j.Ended.IsZero() {
			ended = j.Ended.Format(time.DateTime + "Z")
		}
		rows = append(rows, []string{j.ID.String(), what, string(j.State), fmt.Sprint(j.Pass), fmt.Sprintf("%d of %d", j.Done, j.Total),
			fmt.Sprintf("%d, %s", j.Files, bytesText(j.Bytes)), j.Started.Format(time.DateTime + "Z"), ended})
	}
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	for i := range jobs {
		if jobs[i].Detail != "" {
			printLine(cmd, fmt.Sprintf("%s: %s", jobs[i].ID, jobs[i].Detail))
		}
	}
	return nil
}
