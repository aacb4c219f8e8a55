package server

import (
	"net/http"

	"github.com/efs-project/efs/internal/node"
)

// live answers /livez: the process serves requests.
func (x *exchange) live(target) error {
	return x.sendJSON(http.StatusOK, []byte("{\"live\":true}\n"))
}

// readiness is the body of /readyz.
type readiness struct {
	Ready   bool       `json:"ready"`
	State   node.State `json:"state"`
	Reasons []string   `json:"reasons,omitempty"`
}

// ready answers /readyz: 200 if files are served, 503 with reasons if not. On
// the ops listener the reasons are the node's own; elsewhere anybody may ask,
// so that names of file systems and what ails them are left out.
func (x *exchange) ready(target) error {
	ok, reasons := x.s.node.Ready()
	r := readiness{Ready: ok, State: x.s.node.State(), Reasons: reasons}
	if x.s.stopping.Load() {
		r.Ready, r.State, r.Reasons = false, node.StateStopped, []string{"stopping"}
	} else if !x.l.Ops && r.State == node.StateReady {
		r.Reasons = nil
		if !ok {
			r.Reasons = []string{"part of the server does not serve: see /readyz on the ops listener, efsctl status, or the log"}
		}
	}
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	return x.sendValue(status, r)
}

// serving is nil if requests for files can be answered.
func (s *Server) serving() error {
	if s.stopping.Load() {
		return stoppingProblem()
	}
	switch s.node.State() {
	case node.StateReady:
		return nil
	case node.StateStopped:
		return stoppingProblem()
	}
	return sealedProblem()
}

func stoppingProblem() *problem {
	return &problem{kind: stopping, retry: 5, detail: "The server is being stopped. Try again; another may take its place."}
}

// metricsPage answers /metrics: on the ops listener, and to administrators of
// the server. Users of one file system would learn from sums over all of them
// what others are doing, and how large their files are.
func (x *exchange) metricsPage(target) error {
	if !x.l.Ops {
		if err := x.mayAdmin(); err != nil {
			return err
		}
	}
	x.s.metrics.page.ServeHTTP(x, x.r)
	return nil
}
