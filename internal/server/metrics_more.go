package server

import (
	"runtime"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/version"
	"github.com/prometheus/client_golang/prometheus"
)

// buildInfo is always 1; its labels tell which build runs.
func buildInfo() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "efs_build_info", Help: "1; the labels tell which build runs.",
		ConstLabels: prometheus.Labels{"version": version.Version, "goversion": runtime.Version()}}, func() float64 { return 1 })
}

// kmsMetrics count the calls of key services.
type kmsMetrics struct {
	s     *Server
	calls *prometheus.CounterVec
	took  *prometheus.HistogramVec
}

var kmsUp = prometheus.NewDesc("efs_kms_up", "1 if the KMS answered when it was last asked.", []string{"provider"}, nil)

func newKMSMetrics(s *Server) *kmsMetrics {
	return &kmsMetrics{s: s,
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "efs_kms_calls_total",
			Help: "Tries of calls of key services, by provider, operation and outcome."}, []string{"provider", "op", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "efs_kms_call_duration_seconds", Buckets: prometheus.ExponentialBuckets(.0001, 4, 9),
			Help: "Time that a try of a call of a key service took."}, []string{"provider", "op"}),
	}
}

func (k *kmsMetrics) observe(provider, op, outcome string, took time.Duration) {
	k.calls.WithLabelValues(provider, op, outcome).Inc()
	k.took.WithLabelValues(provider, op).Observe(took.Seconds())
}

// Describe sends nothing: which providers there are is told when asked.
func (k *kmsMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect tells of calls so far, and of each provider how it is.
func (k *kmsMetrics) Collect(out chan<- prometheus.Metric) {
	k.calls.Collect(out)
	k.took.Collect(out)
	for name, up := range k.s.node.KMSUp() {
		v := 0.0
		if up {
			v = 1
		}
		out <- prometheus.MustNewConstMetric(kmsUp, prometheus.GaugeValue, v, name)
	}
}

// auditCollector tells about the audit log, if there is one.
type auditCollector struct{ s *Server }

func auditDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("efs_audit_"+name, help, nil, nil)
}

var (
	auditUp         = auditDesc("up", "1 if changes can be recorded.")
	auditEvents     = auditDesc("events_total", "Lines written.")
	auditSyncs      = auditDesc("syncs_total", "Syncs that made them durable.")
	auditBytes      = auditDesc("written_bytes_total", "Bytes of these lines.")
	auditDropped    = auditDesc("dropped_events_total", "Events that could not be recorded.")
	auditSuppressed = auditDesc("suppressed_events_total", "Events of unknown callers beyond what is recorded of them.")
	auditSinks      = auditDesc("sink_errors_total", "Heads that could not be kept elsewhere.")
	auditWaiting    = auditDesc("waiting_events", "Events taken that are not written yet.")
	auditUnsigned   = auditDesc("unsigned_events", "Lines written after the newest signed head.")
	auditFull       = auditDesc("volume_full", "1 if only deletions can be recorded.")
)

// Describe sends nothing: a server may have no audit log.
func (auditCollector) Describe(chan<- *prometheus.Desc) {}

// Collect asks the log.
func (c auditCollector) Collect(out chan<- prometheus.Metric) {
	log := c.s.node.Audit()
	if log == nil {
		return
	}
	st, up, full := log.Stats(), 0.0, 0.0
	if log.Err() == nil {
		up = 1
	}
	if st.Low {
		full = 1
	}
	gauge := func(d *prometheus.Desc, v float64) { out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	count := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	gauge(auditUp, up)
	gauge(auditFull, full)
	gauge(auditWaiting, float64(st.Waiting))
	if st.HeadSeq > 0 {
		gauge(auditUnsigned, float64(st.Seq-st.HeadSeq))
	}
	count(auditEvents, float64(st.Events))
	count(auditSyncs, float64(st.Syncs))
	count(auditBytes, float64(st.Bytes))
	count(auditDropped, float64(st.Dropped))
	count(auditSuppressed, float64(st.Suppressed))
	count(auditSinks, float64(st.SinkErrors))
}

// cacheCollector tells about the cache of decrypted files, if there is one.
type cacheCollector struct{ s *Server }

var (
	cacheHits   = prometheus.NewDesc("efs_content_cache_hits_total", "Reads that the cache of decrypted files answered.", nil, nil)
	cacheMisses = prometheus.NewDesc("efs_content_cache_misses_total", "Reads that it could not answer.", nil, nil)
	cacheBytes  = prometheus.NewDesc("efs_content_cache_bytes", "Bytes that it holds.", nil, nil)
)

// Describe sends nothing: there may be no cache.
func (cacheCollector) Describe(chan<- *prometheus.Desc) {}

// Collect asks the cache.
func (c cacheCollector) Collect(out chan<- prometheus.Metric) {
	st := c.s.node.CacheStats()
	if st == nil {
		return
	}
	out <- prometheus.MustNewConstMetric(cacheHits, prometheus.CounterValue, float64(st.Hits))
	out <- prometheus.MustNewConstMetric(cacheMisses, prometheus.CounterValue, float64(st.Misses))
	out <- prometheus.MustNewConstMetric(cacheBytes, prometheus.GaugeValue, float64(st.Bytes))
}

var (
	indexLog         = fsDesc("efs_index_log_bytes", "Size of the index's write-ahead log.")
	indexPending     = fsDesc("efs_index_pending_bytes", "Part of the index that is in the write-ahead log and in memory only.")
	indexFlushes     = fsDesc("efs_index_flushes_total", "Flushes of the write-ahead log into the store.")
	indexCompactions = fsDesc("efs_index_compactions_total", "Compactions of the store.")
	oldestEpoch      = fsDesc("efs_fs_oldest_epoch_age_seconds", "Age of the oldest epoch of keys that still opens contents.")
)

// collectIndex tells about the index's files, and the epochs of the keys.
func collectIndex(f *node.FileSystem, st *efs.IndexStats, out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
		out <- prometheus.MustNewConstMetric(d, kind, v, f.Name())
	}
	send(indexLog, prometheus.GaugeValue, float64(st.LogBytes))
	send(indexPending, prometheus.GaugeValue, float64(st.PendingBytes))
	send(indexFlushes, prometheus.CounterValue, float64(st.Flushes))
	send(indexCompactions, prometheus.CounterValue, float64(st.Compactions))
	if epochs := f.Epochs(); len(epochs) > 0 {
		send(oldestEpoch, prometheus.GaugeValue, time.Since(epochs[0].Created).Seconds())
	}
}
