package server

import (
	"time"

	"github.com/efs-project/efs/internal/journal"
	"github.com/efs-project/efs/internal/node"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	journalUp          = fsDesc("efs_journal_up", "1 unless the journal cannot be written.")
	journalAge         = fsDesc("efs_journal_age_seconds", "Age of the oldest commit that the journal does not lead to; 0 if it has all.")
	journalBytes       = fsDesc("efs_journal_bytes", "Size of the journal's files.")
	journalSeq         = fsDesc("efs_journal_change_sequence", "Sequence number of the last change that the journal leads to.")
	journalCheckpoints = fsDesc("efs_journal_checkpoints_total", "Checkpoints made.")
	journalGaps        = fsDesc("efs_journal_gaps_total", "Times that commits were missed, so that a checkpoint was needed.")
)

// collectJournal tells about a file system's journal, if it has one.
func collectJournal(f *node.FileSystem, out chan<- prometheus.Metric) {
	j := f.Journal()
	if j == nil {
		return
	}
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
		out <- prometheus.MustNewConstMetric(d, kind, v, f.Name())
	}
	up, age := 1.0, 0.0
	if j.State == journal.Paused {
		up = 0
	}
	if !j.Behind.IsZero() {
		age = max(0, time.Since(j.Behind).Seconds())
	}
	send(journalUp, prometheus.GaugeValue, up)
	send(journalAge, prometheus.GaugeValue, age)
	send(journalBytes, prometheus.GaugeValue, float64(j.Bytes))
	send(journalSeq, prometheus.GaugeValue, float64(j.Seq))
	send(journalCheckpoints, prometheus.CounterValue, float64(j.Made))
	send(journalGaps, prometheus.CounterValue, float64(j.Gaps))
}
