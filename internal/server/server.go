// Package server is the HTTPS face of EFS: routes, limits, and who may. What
// it takes and answers is written down in api/openapi.yaml, docs/http-api.md
// and docs/errors.md.
//
// A request passes the same gates whatever it is for, in exchange.handle: its
// path is decoded once and checked, its route and method found, its
// certificate and session judged; then one handler answers it from the file
// system. Handlers return errors; what the caller is told about them is
// decided in one place (writeProblem).
package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs/internal/accesslog"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/session"
)

// Server answers requests to the file systems of a node. Make one with New.
type Server struct {
	node       *node.Node
	cfg        Config
	limits     Limits
	log        *slog.Logger
	requestLog accesslog.Logger
	metrics    *metrics

	conns      conns
	generation atomic.Uint64 // of what is known about users; judgements of older ones are void
	changed    signal        // told when generation has changed
	tuned      tuned         // limits that can change while it serves
	requests   gate          // requests under way
	uploads    gate          // large uploads under way
	places     places        // of them, by user
	underWay   places        // requests under way, by user
	archives   chan struct{} // holds one for each archive being made
	userLimits userLimits
	idPrefix   string
	idCount    atomic.Uint64
	standIn    func() (*tls.Certificate, error) // makes its certificate once

	stopping atomic.Bool
	base     context.Context // of the server's own work; ends with it
	endBase  context.CancelFunc
	feeds    context.Context // of change feeds; ends before the server does
	endFeeds context.CancelFunc
	work     atomic.Int64   // requests under way, feeds apart
	tasks    sync.WaitGroup // the server's own goroutines

	mu      sync.Mutex
	servers []stopper
}

// New returns a server for the file systems of n, which must outlive it.
func New(n *node.Node, cfg Config) *Server {
	s := &Server{node: n, cfg: cfg, limits: cfg.Limits.withDefaults(), log: cfg.Logger}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.requestLog = cfg.Requests; s.requestLog == nil {
		s.requestLog = accesslog.To(s.log)
	}
	s.archives = make(chan struct{}, maxArchives)
	s.base, s.endBase = context.WithCancel(context.Background())
	s.feeds, s.endFeeds = context.WithCancel(s.base)
	s.conns = conns{all: make(map[*conn]struct{})}
	s.Tune(s.limits)
	var prefix [6]byte
	rand.Read(prefix[:])
	s.idPrefix = hex.EncodeToString(prefix[:]) + "-"
	s.standIn = sync.OnceValues(newStandIn)
	s.metrics = newMetrics(s)
	n.OnAccessChange(s.accessChanged)
	return s
}

// Handler returns what answers requests on a listener of this kind, for
// embedding and tests. Serve is the usual way.
func (s *Server) Handler(l Listener) http.Handler {
	if l.Factors == (Factors{}) {
		l.Factors = session.AllFactors
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, &l) })
}

// OpsHandler answers health and metrics alone.
func (s *Server) OpsHandler() http.Handler { return s.Handler(Listener{Ops: true}) }

// serve answers one request, whatever becomes of it, and writes its line.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, l *Listener) {
	x := &exchange{ResponseWriter: w, r: r, s: s, l: l, start: time.Now(), route: routeNone, id: s.requestID(r)}
	x.set("X-Request-Id", x.id)
	s.work.Add(1)
	defer x.finish()
	x.armReading()
	if err := x.admit(); err != nil {
		x.fail(err)
	}
}

// admit lets in what this listener is for.
func (x *exchange) admit() error {
	if x.l.Ops {
		return x.handleOps()
	}
	if x.l.Plain && !fromProxy(x.l.ClientCert, x.r.RemoteAddr) {
		return misdirected.with("This listener speaks plain HTTP to its proxies alone. Use the HTTPS address.")
	}
	return x.handle()
}

// fail tells the caller of an error: by a problem document while that can be
// done, else by an answer that does not end as if it were whole.
func (x *exchange) fail(err error) {
	var p *problem
	if !errors.As(writeProblem(err), &p) {
		panic("server: a failure without a problem") // writeProblem returns nothing else
	}
	// What the caller did wrong is told to the caller alone: such errors name
	// paths. The others name ids.
	if p.kind.status >= 500 && p.cause != nil {
		x.s.log.LogAttrs(x.r.Context(), slog.LevelError, "request failed", slog.String("id", x.id), slog.Any("error", p.cause))
	}
	if x.status != 0 {
		x.problem = p.kind.name
		abort()
	}
	p.send(x)
}

// finish counts and logs the exchange, also when its handler panics. A panic
// that is not the deliberate abort is a fault of the server: it is logged
// with its text and answered by breaking off.
func (x *exchange) finish() {
	p := recover()
	took := time.Since(x.start)
	if !x.follows {
		x.s.work.Add(-1)
	}
	x.recordAudit(p != nil)
	x.s.metrics.answered(x, took)
	x.endTrace(p != nil)
	x.s.logRequest(x, took)
	if p == nil {
		return
	}
	if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
		x.s.log.Error("handler panicked", "id", x.id, "panic", p, "stack", string(debug.Stack()))
	}
	abort()
}

// follow turns the request into one that may last for ever: stopping does not
// wait for it, but ends it.
func (x *exchange) follow() {
	x.recordAudit(false) // now: it may last for months
	x.endTrace(false)    // likewise
	x.follows = true
	x.s.work.Add(-1)
}

// requestID returns the id that the answer, the log and problem documents
// carry: the client's own if it is a harmless one, else one of this server's.
func (s *Server) requestID(r *http.Request) string {
	if v := r.Header["X-Request-Id"]; len(v) == 1 && harmlessID(v[0]) {
		return v[0]
	}
	return s.idPrefix + strconv.FormatUint(s.idCount.Add(1), 10)
}

func harmlessID(id string) bool {
	for i := 0; i < len(id); i++ {
		c := id[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return len(id) >= 1 && len(id) <= 64
}

// logRequest writes the one line of a request. No path, name, query, header
// or credential is in it; efsctl resolve finds the path of an object id.
func (s *Server) logRequest(x *exchange, took time.Duration) {
	level := slog.LevelInfo
	if x.route == routeLive || x.route == routeReady || x.route == routeMetrics {
		level = slog.LevelDebug // asked every few seconds, for ever
	}
	if !s.requestLog.Enabled(level) {
		return
	}
	s.requestLog.Log(accesslog.Entry{
		Time: x.start.Add(took), Level: level, ID: x.id, Route: string(x.route), Method: knownMethod(x.r.Method), Status: x.status,
		Took: took, In: x.in, Out: x.out, From: x.r.RemoteAddr, FS: x.who.fsName, User: x.who.user, Object: objectID(x), Problem: x.problem, Trace: x.span.TraceID(),
	})
}

func objectID(x *exchange) string {
	if x.object.IsZero() {
		return ""
	}
	return x.object.String()
}

// accessChanged is told that something was taken from a user (from all of a
// file system's users, if user is empty): remembered judgements are void, and
// the connections that their certificates opened are cut. Sessions have been
// ended by then, which stops what comes through proxies.
func (s *Server) accessChanged(fs, user string) {
	s.generation.Add(1)
	s.changed.tell()
	for _, c := range s.conns.of(fs, user) {
		_ = c.Close() // it is being cut: how it takes that is no matter
	}
}
