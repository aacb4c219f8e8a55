package node

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/atomicfile"
)

// DeleteFS destroys a file system: its keys first, so that nothing of it can
// be read from then on, then its directories. It also removes one that could
// not be opened. What a crash cuts off, or the caller does not wait for, goes
// on in the background or at the next start. progress may be nil. Errors: efs.ErrNotFound,
// efs.ErrSealed.
func (n *Node) DeleteFS(ctx context.Context, name string, progress func(line string)) error {
	if progress == nil {
		progress = func(string) {}
	}
	done, err := n.beginDelete(ctx, name, progress)
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("file system %s: its keys are destroyed, but removing its directories failed, to be tried again at the next start: %w", name, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("file system %s: its keys are destroyed; the removal of its directories goes on: %w", name, ctx.Err())
	}
}

// beginDelete takes a file system out of service and destroys its keys. The
// channel tells when the rest is removed.
func (n *Node) beginDelete(ctx context.Context, name string, progress func(string)) (<-chan error, error) {
	n.admin.Lock()
	defer n.admin.Unlock()
	if err := n.Serving(); err != nil {
		return nil, err
	}
	v := n.secrets()
	rec, ok := v.registry.get(name)
	if !ok || rec.Phase != phaseReady {
		return nil, fmt.Errorf("file system %q: %w", name, efs.ErrNotFound)
	}
	rec.Phase = phaseDeleting
	if err := v.registry.put(rec); err != nil {
		return nil, err
	}
	f := (*n.open.Load())[name]
	n.publish(name, nil)
	n.mu.Lock()
	delete(n.failed, name)
	n.mu.Unlock()
	v.sessions.EndFS(name)
	// What its users hold elsewhere counts for nothing from here on; a record
	// that stays behind does no harm.
	if err := n.dropElsewhere(context.WithoutCancel(ctx), name, func(p access.Principal) bool { return p.Realm == name }); err != nil {
		n.log.Warn("grants of a deleted file system's users stay behind", "fs", name, "err", err)
	}
	n.accessChanged(name, "")
	if f != nil {
		if err := f.close(); err != nil {
			n.log.Warn("closing a file system that is being deleted", "fs", name, "err", err)
		}
	}
	progress(fmt.Sprintf("Destroying the keys of '%s'", n.cfg.places(name).home))
	if err := v.ring.Drop(context.WithoutCancel(ctx), rec.ID); err != nil {
		return nil, fmt.Errorf("destroying the keys of %s, to be tried again at the next start: %w", name, err)
	}
	n.log.Info("file system deleted: its keys are destroyed", "fs", name, "id", rec.ID)
	progress(fmt.Sprintf("Removing '%s'", n.cfg.places(name).home))
	return n.eraseBehind(rec), nil
}

// eraseBehind removes what is left of rec without holding up other commands.
func (n *Node) eraseBehind(rec fsRecord) <-chan error {
	registry := n.secrets().registry
	done := make(chan error, 1)
	n.run(func(ctx context.Context) {
		err := n.removePlaces(ctx, rec)
		if err == nil {
			err = registry.drop(rec.Name)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Error("removing a deleted file system, to be tried again at the next start", "fs", rec.Name, "err", err)
		}
		done <- err
	})
	return done
}

// erase removes everything of rec: keys, directories, its record. It may be
// repeated.
func (n *Node) erase(ctx context.Context, rec fsRecord) error {
	if err := n.secrets().ring.Drop(ctx, rec.ID); err != nil {
		return fmt.Errorf("destroying its keys: %w", err)
	}
	if err := n.removePlaces(ctx, rec); err != nil {
		return err
	}
	return n.secrets().registry.drop(rec.Name)
}

func (n *Node) removePlaces(ctx context.Context, rec fsRecord) error {
	for _, top := range n.cfg.places(rec.Name).tops() {
		if err := removeTree(ctx, top); err != nil {
			return err
		}
		if err := atomicfile.SyncDir(filepath.Dir(top)); err != nil {
			return err
		}
	}
	return nil
}

// settle finishes or undoes what a crash cut off. A failure is reported and
// tried again at the next start.
func (n *Node) settle(ctx context.Context) {
	for _, rec := range n.secrets().registry.all() {
		switch rec.Phase {
		case phaseCreating:
			n.log.Warn("removing a file system whose creation was cut off", "fs", rec.Name)
			if err := n.erase(ctx, rec); err != nil {
				n.log.Error("removing a file system whose creation was cut off", "fs", rec.Name, "err", err)
			}
		case phaseRestoring:
			n.log.Warn("removing a file system whose restore was cut off; restore it again", "fs", rec.Name)
			if err := n.undoRestore(rec); err != nil {
				n.log.Error("removing a file system whose restore was cut off", "fs", rec.Name, "err", err)
			}
		case phaseDeleting:
			n.log.Info("going on with deleting a file system", "fs", rec.Name)
			if err := n.secrets().ring.Drop(ctx, rec.ID); err != nil {
				n.log.Error("destroying the keys of a deleted file system", "fs", rec.Name, "err", err)
				continue
			}
			n.eraseBehind(rec)
		}
	}
}
