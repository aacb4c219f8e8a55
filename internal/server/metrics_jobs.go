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

// collectJobs tells how far the jobs of a file system are. Those that wait for
// others to end are left out, as only one is under way.
func collectJobs(f *node.FileSystem, out chan<- prometheus.Metric) {
	failed := 0
	for _, j := range f.Jobs() {
		switch j.State {
		case fsys.JobFailed:
			failed++
		case fsys.JobRunning, fsys.JobWaiting:
			for d, v := range map[*prometheus.Desc]int64{jobDone: j.Done, jobTotal: j.Total, jobContents: j.Files, jobBytes: j.Bytes} {
				out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), f.Name(), j.Kind)
			}
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
