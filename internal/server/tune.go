package server

import "sync/atomic"

// gate lets so many in at once.
type gate struct{ used, most atomic.Int64 }

// enter reports whether there was a place; whoever got one leaves.
func (g *gate) enter() bool {
	if g.used.Add(1) > g.most.Load() {
		g.used.Add(-1)
		return false
	}
	return true
}

func (g *gate) leave() { g.used.Add(-1) }

// inside is how many are in.
func (g *gate) inside() int { return int(g.used.Load()) }

// tuned are the limits that can change while the server serves.
type tuned struct {
	body     atomic.Int64
	shutdown atomic.Int64 // nanoseconds
}

// Tune puts the limits Body, Uploads, Requests, Connections and Shutdown in
// force, the others being for the next start. What is under way goes on: where
// more is under way than is now allowed, nothing new begins until it is less.
func (s *Server) Tune(l Limits) {
	l = l.withDefaults()
	s.tuned.body.Store(l.Body)
	s.tuned.shutdown.Store(int64(l.Shutdown))
	s.requests.most.Store(int64(l.Requests))
	s.uploads.most.Store(int64(l.Uploads))
	s.conns.bound(l.Connections)
}

// bound sets how many connections may be open, and how many of them from one
// address that has shown no certificate of a user.
func (cs *conns) bound(most int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.max, cs.maxStrange = most, max(1, most/2)
}
