package fsys

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/efs-project/efs"
)

// anchoring keeps the newest head in a place apart from the index.
type anchoring struct {
	anchorMu sync.Mutex
	anchored efs.Head // what the anchor holds
}

// setAnchor anchors the head, if it has moved.
func (fs *FS) setAnchor(ctx context.Context) error {
	if fs.o.Anchor == nil {
		return nil
	}
	fs.anchorMu.Lock()
	defer fs.anchorMu.Unlock()
	h, err := fs.o.Index.Head(ctx)
	if err != nil {
		return fmt.Errorf("reading the head of the index: %w", err)
	}
	if h.Revision == fs.anchored.Revision && h.Link == fs.anchored.Link {
		return nil
	}
	if err := fs.o.Anchor.SetAnchor(ctx, h); err != nil {
		return fmt.Errorf("anchoring the head of the index: %w", err)
	}
	fs.anchored = h
	return nil
}

// anchorAccess anchors the head, and that it is newer than a change of users,
// rights or policy in a revision: what an index is made anew from is to have it.
func (fs *FS) anchorAccess(ctx context.Context, revision uint64) error {
	if fs.o.Anchor == nil {
		return nil
	}
	err := fs.o.Anchor.AnchorAccess(ctx, fs.o.ID, revision)
	return errors.Join(err, fs.setAnchor(ctx))
}

// checkAnchor compares the index with its anchor. The index is durable before
// it is anchored, so it can only be ahead, and then of the same history.
func (fs *FS) checkAnchor(ctx context.Context) error {
	if fs.o.Anchor == nil {
		return nil
	}
	h, err := fs.o.Index.Head(ctx)
	if err != nil {
		return fmt.Errorf("reading the head of the index: %w", err)
	}
	a, ok, err := fs.o.Anchor.Anchor(fs.o.ID)
	if err != nil {
		return fmt.Errorf("reading the anchor of file system '%s': %w", fs.o.Name, err)
	}
	why, err := fs.strays(ctx, h, a, ok)
	if err != nil {
		return err
	}
	if why == "" && fs.o.Restored {
		why = "was put back from a backup"
	}
	if why == "" {
		fs.anchored = a
		return nil
	}
	if !fs.o.AcceptRollback && !fs.o.Restored {
		return fmt.Errorf("%w: the index of file system '%s' %s", efs.ErrRolledBack, fs.o.Name, why)
	}
	fs.rolledBack = true
	fs.log.Warn("going on with an index that does not fit its anchor, as asked", "why", why)
	// First, so that a crash in between does not make the next start destroy
	// keys of units that a newer index has, which may be put back yet.
	if err := fs.spareUnits(ctx); err != nil {
		return err
	}
	if h, err = fs.o.Index.Head(ctx); err != nil {
		return fmt.Errorf("reading the head of the index: %w", err)
	}
	if err := fs.o.Anchor.ResetAnchor(ctx, h); err != nil {
		return fmt.Errorf("anchoring the head of the index: %w", err)
	}
	fs.anchored = h
	return nil
}

// strays says in what way head h does not go on from anchor a; "" if it does.
func (fs *FS) strays(ctx context.Context, h, a efs.Head, ok bool) (why string, err error) {
	switch {
	case !ok:
		return "has no anchor although it has been in use", nil
	case h.Seq < a.Seq:
		return fmt.Sprintf("ends at change %d, but change %d is known", h.Seq, a.Seq), nil
	case h.Revision < a.Revision:
		return fmt.Sprintf("is at revision %d, but revision %d is known", h.Revision, a.Revision), nil
	case h.Seq == a.Seq:
		if h.Link != a.Link {
			return fmt.Sprintf("has another change %d than the one that is known", h.Seq), nil
		}
		return "", nil
	case a.Seq == 0:
		return "", nil
	}
	first, _, err := fs.o.Index.LogBounds(ctx)
	if err != nil || a.Seq < first {
		return "", err // cut off from the log: it can no longer be compared
	}
	c, err := fs.o.Index.Changes(ctx, a.Seq-1, 1)
	if err != nil {
		return "", fmt.Errorf("reading change %d: %w", a.Seq, err)
	}
	if len(c) != 1 || c[0].Link != a.Link {
		return fmt.Sprintf("has another change %d than the one that is known", a.Seq), nil
	}
	return "", nil
}
