package server

import (
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/node"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	jobDone     = jobDesc("efs_job_files_done", "Files that the present pass of a job under way has looked at.")
	jobTotal    = jobDesc("efs_job_files", "Files that a job under way has to look at.")
	jobContents = jobDesc("efs_job_contents", "Contents that a job under way has sealed anew.")
	jobBytes    = jobDesc("efs_job_bytes", "Bytes of the contents that a job under way has sealed anew.")
	jobsFailed  = fsDesc("efs_jobs_failed", "Jobs that failed, among those that efsctl jobs shows.")
	quotaBytes  = fsDesc("efs_fs_quota_bytes", "Bytes that the file system may have; without a bound there is no sample.")
	quotaFiles  = fsDesc("efs_fs_quota_files", "Files that the file system may have; without a bound there is no sample.")
)

func jobDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"fs", "job"}, nil)
}

// collectJobs tells how far the jobs of a file system are, of each kind all
// together. Those that others come before are left out.
func collectJobs(f *node.FileSystem, out chan<- prometheus.Metric) {
	failed := 0
	sums := map[string]fsys.Job{}
	for _, j := range f.Jobs() {
		switch j.State {
		case fsys.JobFailed:
			failed++
		case fsys.JobRunning, fsys.JobWaiting:
			s := sums[j.Kind]
			sums[j.Kind] = fsys.Job{Done: s.Done + j.Done, Total: s.Total + j.Total, Files: s.Files + j.Files, Bytes: s.Bytes + j.Bytes}
		}
	}
	for kind, s := range sums {
		for d, v := range map[*prometheus.Desc]int64{jobDone: s.Done, jobTotal: s.Total, jobContents: s.Files, jobBytes: s.Bytes} {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), f.Name(), kind)
		}
	}
	out <- prometheus.MustNewConstMetric(jobsFailed, prometheus.GaugeValue, float64(failed), f.Name())
}

// collectQuota tells the bounds of a file system, to be compared with
// efs_fs_bytes and efs_fs_files.
func collectQuota(f *node.FileSystem, out chan<- prometheus.Metric) {
	q := f.Quota()
	if q.MaxBytes > 0 {
		out <- prometheus.MustNewConstMetric(quotaBytes, prometheus.GaugeValue, float64(q.MaxBytes), f.Name())
	}
	if q.MaxFiles > 0 {
		out <- prometheus.MustNewConstMetric(quotaFiles, prometheus.GaugeValue, float64(q.MaxFiles), f.Name())
	}
}
