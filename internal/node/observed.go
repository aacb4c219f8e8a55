package node

import (
	"maps"
	"slices"
	"time"

	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/kms/guard"
	"github.com/efs-project/efs/internal/tracing"
)

// KMSObserver is told of a call of a KMS, as node.KMSConfig.Observe is.
type KMSObserver func(provider, op, outcome string, took time.Duration)

// Tracer is what makes traces; nil: nothing does.
func (n *Node) Tracer() *tracing.Tracer { return n.cfg.Tracer }

// OnKMSCall calls fn after each call of a KMS from now on. fn must not block.
func (n *Node) OnKMSCall(fn KMSObserver) { n.kmsHook.Store(&fn) }

// observed tells whoever wants to know of a call, and the audit log of a KMS
// that refuses.
func (n *Node) observed(provider, op, outcome string, took time.Duration) {
	if observe := n.cfg.KMS.Observe; observe != nil {
		observe(provider, op, outcome, took)
	}
	if hook := n.kmsHook.Load(); hook != nil {
		(*hook)(provider, op, outcome, took)
	}
	if outcome == guard.OutcomeRefused {
		n.record("kms.refused", outcome, "", "KMS "+provider+": "+op)
	}
}

// kmsChanged records that a KMS went away, or answers again.
func (n *Node) kmsChanged(provider string, s guard.State) {
	if s.Ready {
		n.record("kms.back", audit.Ok, "", "KMS "+provider)
	} else {
		n.record("kms.away", "unavailable", "", "KMS "+provider)
	}
}

// KMSUp tells of each KMS whether it answered last, without asking it.
func (n *Node) KMSUp() map[string]bool {
	up := map[string]bool{}
	for _, name := range n.Providers() {
		if _, kms, err := n.provider(name); err == nil {
			up[name] = kms.State().Ready
		}
	}
	return up
}

// KeyringStats tells of the cache of unwrapped keys; false while the node is
// sealed.
func (n *Node) KeyringStats() (keyring.Stats, bool) {
	v := n.secrets()
	if v == nil || v.ring == nil {
		return keyring.Stats{}, false
	}
	return v.ring.Stats(), true
}

// Failed returns the names of the file systems that could not be opened.
func (n *Node) Failed() []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return slices.Sorted(maps.Keys(n.failed))
}

// Epochs describes the epochs of the file system's keys, oldest first.
func (f *FileSystem) Epochs() []keyring.EpochInfo { return f.parts.keys.Epochs() }
