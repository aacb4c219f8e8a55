package node

import (
	"context"
	"fmt"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/guard"
)

// KMSStatus is how a KMS is at present.
type KMSStatus struct {
	Provider string    `json:"provider"`
	Ready    bool      `json:"ready"`
	Error    string    `json:"error,omitempty"` // why it is not
	Since    time.Time `json:"since"`           // of the present state
	Latency  float64   `json:"latency_ms"`      // of its last answer, milliseconds
}

// guarded puts a guard before a KMS. One that answers again may be what file
// systems wait for.
func (n *Node) guarded(name string, kms efs.KMS) *guard.KMS {
	o := guard.Options{Timeout: n.cfg.KMS.Timeout, Logger: n.log.With("provider", name), Tracer: n.cfg.Tracer}
	o.Changed = func(s guard.State) {
		if s.Ready {
			n.reopenSoon()
		}
		n.kmsChanged(name, s)
	}
	o.Observe = func(op, outcome string, took time.Duration) { n.observed(name, op, outcome, took) }
	return guard.New(kms, o)
}

// KMSStatus asks every KMS whether it would answer now, except those that are
// known to be away, and returns what they say, by provider. It is empty while
// the node is sealed.
func (n *Node) KMSStatus(ctx context.Context) []KMSStatus {
	out := []KMSStatus{}
	for _, name := range n.Providers() {
		_, kms, err := n.provider(name)
		if err != nil {
			continue // sealed meanwhile
		}
		err = kms.Ready(ctx)
		state := kms.State()
		s := KMSStatus{Provider: name, Ready: err == nil, Since: state.Since.UTC(), Latency: float64(state.Latency.Microseconds()) / 1000}
		if err != nil {
			s.Error = err.Error()
		}
		out = append(out, s)
	}
	return out
}

// awayKMSs tells which KMSs did not answer last, without asking them.
func (n *Node) awayKMSs() (reasons []string) {
	for _, name := range n.Providers() {
		_, kms, err := n.provider(name)
		if err != nil {
			continue // sealed meanwhile
		}
		if s := kms.State(); !s.Ready {
			reasons = append(reasons, fmt.Sprintf("KMS %s: %v", name, s.Err))
		}
	}
	return reasons
}
