package node

import (
	"context"
	"time"
)

// KMSStatus is how a KMS is at present.
type KMSStatus struct {
	Provider string    `json:"provider"`
	Ready    bool      `json:"ready"`
	Error    string    `json:"error,omitempty"` // why it is not
	Since    time.Time `json:"since,omitzero"`  // of the present state
	Latency  float64   `json:"latency_ms"`      // of the last answer, milliseconds
}

// KMSStatus asks every KMS whether it would answer now, and returns what they
// say, by provider. It is empty while the node is sealed.
func (n *Node) KMSStatus(ctx context.Context) []KMSStatus {
	out := []KMSStatus{}
	for _, name := range n.Providers() {
		_, kms, err := n.provider(name)
		if err != nil {
			continue // sealed meanwhile
		}
		s := KMSStatus{Provider: name, Ready: true}
		start := time.Now()
		if err := kms.Ready(ctx); err != nil {
			s.Ready, s.Error = false, err.Error()
		}
		s.Latency = float64(time.Since(start).Microseconds()) / 1000
		out = append(out, s)
	}
	return out
}
