package server

import (
	"context"
	"time"

	"github.com/efs-project/efs/internal/node"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	backupAge = fsDesc("efs_backup_age_seconds", "Time since the newest backup was begun; without one there is no sample.")
	backupSeq = fsDesc("efs_backup_change_sequence", "Sequence number of the last change in the newest backup.")
)

// collectBackup tells about the newest backup of a file system, if there is
// one.
func collectBackup(ctx context.Context, f *node.FileSystem, out chan<- prometheus.Metric) {
	b, err := f.LastBackup(ctx)
	if err != nil || b.Time == 0 {
		return
	}
	age := time.Since(time.UnixMicro(b.Time)).Seconds()
	out <- prometheus.MustNewConstMetric(backupAge, prometheus.GaugeValue, max(0, age), f.Name())
	out <- prometheus.MustNewConstMetric(backupSeq, prometheus.GaugeValue, float64(b.Seq), f.Name())
}
