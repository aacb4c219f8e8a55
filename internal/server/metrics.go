package server

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what a server counts. They carry no names but those of file
// systems and of KMSs.
type metrics struct {
	requests   *prometheus.CounterVec   // by route, method and status
	durations  *prometheus.HistogramVec // seconds, by route and method
	problems   *prometheus.CounterVec   // by problem
	received   prometheus.Counter       // bytes of request bodies
	sent       prometheus.Counter       // bytes of answers' bodies
	handshakes *prometheus.CounterVec   // by outcome

	rejected *prometheus.CounterVec // logins, by reason
	kms      *kmsMetrics

	page http.Handler

	mu    sync.RWMutex
	known map[seriesKey]series // found before: finding them costs more than counting
}

// seriesKey is what tells the series of one request from those of another.
type seriesKey struct {
	route  route
	method string
	status int
}

type series struct {
	requests  prometheus.Counter
	durations prometheus.Observer
}

// buckets reach from a read of a cached small file to a large upload, seconds.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120, 600}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		known: make(map[seriesKey]series),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "efs_http_requests_total",
			Help: "Requests answered, by route, method and status."}, []string{"route", "method", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "efs_http_request_duration_seconds",
			Help: "Time from a request's headers to the end of its answer.", Buckets: buckets}, []string{"route", "method"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "efs_http_problems_total",
			Help: "Problem documents sent, by problem (docs/errors.md)."}, []string{"problem"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Name: "efs_http_received_bytes_total",
			Help: "Bytes of request bodies read."}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{Name: "efs_http_sent_bytes_total",
			Help: "Bytes of answers' bodies sent."}),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "efs_handshakes_total",
			Help: "Signed nonces presented, by outcome."}, []string{"outcome"}),
	}
	m.rejected = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "efs_logins_rejected_total",
		Help: "Logins that were rejected, by reason (docs/errors.md)."}, []string{"reason"})
	m.kms = newKMSMetrics(s)
	s.node.OnKMSCall(m.kms.observe)
	common := prometheus.NewRegistry()
	common.MustRegister(m.rejected, m.kms, auditCollector{s}, cacheCollector{s}, keyringCollector{s}, buildInfo())
	common.MustRegister(m.requests, m.durations, m.problems, m.received, m.sent, m.handshakes,
		gauge("efs_http_requests_in_flight", "Requests being answered, watched change feeds apart.", func() float64 { return float64(s.work.Load()) }),
		gauge("efs_http_connections", "Open connections.", func() float64 { return float64(s.conns.count()) }),
		gauge("efs_uploads_in_flight", "Uploads under way that count against the limit.", func() float64 { return float64(s.uploads.inside()) }),
		gauge("efs_sessions", "Sessions that are alive.", s.sessionCount),
		gauge("efs_ready", "1 if the server serves all its file systems.", s.readyGauge),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	perFS := prometheus.NewRegistry()
	perFS.MustRegister(&fsCollector{s})
	m.page = promhttp.HandlerFor(prometheus.Gatherers{common, perFS}, promhttp.HandlerOpts{})
	return m
}

func gauge(name, help string, f func() float64) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
}

func (s *Server) sessionCount() float64 {
	if m := s.node.Sessions(); m != nil {
		return float64(m.Count())
	}
	return 0
}

func (s *Server) readyGauge() float64 {
	if ok, reasons := s.node.Ready(); ok && len(reasons) == 0 && !s.stopping.Load() {
		return 1
	}
	return 0
}

// answered counts a finished exchange.
func (m *metrics) answered(x *exchange, took time.Duration) {
	of := m.seriesOf(seriesKey{x.route, knownMethod(x.r.Method), x.status})
	of.requests.Inc()
	if !x.follows { // how long a feed is watched says nothing about the server
		of.durations.Observe(took.Seconds())
	}
	if x.problem != "" && x.route == routeSession && x.r.Method == http.MethodPost {
		m.rejected.WithLabelValues(x.problem).Inc()
	}
	if x.problem != "" {
		m.problems.WithLabelValues(x.problem).Inc()
	}
	m.received.Add(float64(x.in))
	m.sent.Add(float64(x.out))
}

// seriesOf finds the series of a request. There are few: routes, methods and
// statuses are all the server's own.
func (m *metrics) seriesOf(k seriesKey) series {
	m.mu.RLock()
	of, ok := m.known[k]
	m.mu.RUnlock()
	if ok {
		return of
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	of = series{
		requests:  m.requests.WithLabelValues(string(k.route), k.method, strconv.Itoa(k.status)),
		durations: m.durations.WithLabelValues(string(k.route), k.method),
	}
	m.known[k] = of
	return of
}

// knownMethod keeps what clients make up out of the metrics and the log.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete,
		http.MethodPatch, http.MethodOptions, "MOVE", "COPY", "MKCOL":
		return method
	}
	return "other"
}

// fsCollector tells about each file system when it is asked.
type fsCollector struct{ s *Server }

var (
	fsBytes        = fsDesc("efs_fs_bytes", "Bytes of contents, as users see them.")
	fsFiles        = fsDesc("efs_fs_files", "Files.")
	fsUp           = fsDesc("efs_fs_up", "1 unless the file system could not be opened, or stopped after a failed write.")
	fsSeq          = fsDesc("efs_fs_change_sequence", "Sequence number of the last change.")
	fsCommits      = fsDesc("efs_index_commits_total", "Syncs of the index.")
	fsTransactions = fsDesc("efs_index_transactions_total", "Transactions that these syncs made durable.")
	fsRefused      = fsDesc("efs_index_refused_total", "Transactions that failed a check or a bound.")
	fsIndexSize    = fsDesc("efs_index_size_bytes", "Size of the index's store.")
	fsIndexFree    = fsDesc("efs_index_free_bytes", "Part of the store that can be used again.")
)

func fsDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"fs"}, nil)
}

// Describe sends nothing: which file systems there are changes.
func (c *fsCollector) Describe(chan<- *prometheus.Desc) {}

// Collect asks every open file system.
func (c *fsCollector) Collect(out chan<- prometheus.Metric) {
	for _, name := range c.s.node.Failed() {
		out <- prometheus.MustNewConstMetric(fsUp, prometheus.GaugeValue, 0, name)
	}
	for _, f := range c.s.node.FileSystems() {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
			out <- prometheus.MustNewConstMetric(d, kind, v, f.Name())
		}
		st, up := f.Stats(), 0.0
		if f.Err() == nil {
			up = 1
		}
		send(fsUp, prometheus.GaugeValue, up)
		send(fsCommits, prometheus.CounterValue, float64(st.Commits))
		send(fsTransactions, prometheus.CounterValue, float64(st.Transactions))
		send(fsRefused, prometheus.CounterValue, float64(st.Refused))
		send(fsIndexSize, prometheus.GaugeValue, float64(st.SizeBytes))
		send(fsIndexFree, prometheus.GaugeValue, float64(st.FreeBytes))
		collectIndex(f, &st, out)
		if u, err := f.Usage(c.s.base); err == nil {
			send(fsBytes, prometheus.GaugeValue, float64(u.Bytes))
			send(fsFiles, prometheus.GaugeValue, float64(u.Files))
		}
		if h, err := f.Head(c.s.base); err == nil {
			send(fsSeq, prometheus.GaugeValue, float64(h.Seq))
		}
		collectBatches(f, &st, out)
		collectContents(c.s.base, f, out)
		collectJobs(f, out)
		collectQuota(f, out)
		collectJournal(f, out)
		collectBackup(c.s.base, f, out)
	}
}
