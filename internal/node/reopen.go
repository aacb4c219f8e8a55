package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
)

// File systems that could not be opened for want of their KMS are tried again
// after reopenFirst, then after pauses that double up to reopenLast: a key that
// somebody disabled may stay so for long.
const (
	reopenFirst = 10 * time.Second
	reopenLast  = time.Minute
)

// reopenSoon has file systems tried again now.
func (n *Node) reopenSoon() {
	select {
	case n.reopen <- struct{}{}:
	default: // a try is due already
	}
}

// watchFailed opens file systems whose KMS did not answer, or refused, when
// the server started, as soon as it lets them.
func (n *Node) watchFailed(ctx context.Context) {
	pause := reopenFirst
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			pause = min(2*pause, reopenLast)
		case <-n.reopen:
			timer.Stop()
			pause = reopenFirst
		}
		n.reopenFailed(ctx)
	}
}

// reopenFailed tries to open every file system that waits for its KMS.
func (n *Node) reopenFailed(ctx context.Context) {
	if len(n.waitingForKMS()) == 0 {
		return
	}
	if !n.admin.TryLock() { // Close holds it while it waits for this
		return
	}
	defer n.admin.Unlock()
	if n.Serving() != nil {
		return
	}
	waiting := n.waitingForKMS()
	for _, rec := range n.secrets().registry.all() {
		if rec.Phase != phaseReady || !slices.Contains(waiting, rec.Name) || ctx.Err() != nil {
			continue
		}
		if err := n.openLate(ctx, rec); err != nil {
			n.log.Debug("file system still not opened", "fs", rec.Name, "err", err)
			continue
		}
		n.log.Info("file system opened: its KMS answers again", "fs", rec.Name)
	}
}

// openLate opens a file system that could not be opened at the start, and
// brings it into service; else it is kept with its new reason. Called with
// admin held.
func (n *Node) openLate(ctx context.Context, rec fsRecord) error {
	return n.openLateWith(ctx, rec, func(*fsys.Options) {})
}

// openLateWith is openLate with options that adjust has changed.
func (n *Node) openLateWith(ctx context.Context, rec fsRecord, adjust func(*fsys.Options)) error {
	f, err := n.openFSWith(ctx, rec, adjust)
	n.mu.Lock()
	if err != nil {
		n.failed[rec.Name] = err
	} else {
		delete(n.failed, rec.Name)
	}
	n.mu.Unlock()
	if err != nil {
		return err
	}
	f.problems = f.checkExports(n.log)
	n.publish(rec.Name, f)
	return nil
}

// waitingForKMS names the file systems that were not opened because a KMS did
// not answer or refused.
func (n *Node) waitingForKMS() (names []string) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for name, err := range n.failed {
		if errors.Is(err, efs.ErrUnavailable) || errors.Is(err, efs.ErrRefused) {
			names = append(names, name)
		}
	}
	return names
}
