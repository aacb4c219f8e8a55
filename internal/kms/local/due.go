package local

import (
	"context"
	"maps"
	"time"
)

// sweepEvery is how long key material may outlive its time of deletion. The
// key itself is gone, for every call, from that time on.
const sweepEvery = time.Minute

// sweeper destroys master keys when they are due.
func (k *KMS) sweeper(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.deleteDue()
		}
	}
}

// due reports whether a master key's time is over.
func (m *master) due(now time.Time) bool { return !m.deleteAt.IsZero() && !now.Before(m.deleteAt) }

// deleteDue destroys every master key whose time is over: out of the sealed
// file, whose old bytes are overwritten, then out of memory. What fails is
// logged and tried again at the next sweep.
func (k *KMS) deleteDue() {
	k.mu.Lock()
	defer k.mu.Unlock()
	due := map[string]*master{}
	for id, m := range k.keys {
		if m.due(k.now()) {
			due[id] = m
		}
	}
	if len(due) == 0 {
		return
	}
	kept, deleted := maps.Clone(k.keys), maps.Clone(k.deleted)
	for id, m := range due {
		delete(kept, id)
		deleted[id] = m.deleteAt
	}
	if err := k.store(kept, deleted); err != nil {
		k.log.Error("a local master key is due for deletion and could not be deleted yet", "err", err)
		return
	}
	k.keys, k.deleted = kept, deleted
	wipe(due)
	for id, m := range due {
		k.log.Info("local master key deleted", "key", id, "due", m.deleteAt)
	}
}
