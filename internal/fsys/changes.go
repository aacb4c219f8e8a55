package fsys

import (
	"context"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/record"
)

// Changes returns up to limit changes after sequence number since, in order.
// efs.ErrLogTruncated if some of them are no longer in the log: list what
// there is and go on from the head. efs.ErrDamaged if the log was altered.
func (fs *FS) Changes(ctx context.Context, since uint64, limit int) (_ []efs.Change, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.Changes")
	defer func() { span.EndWith(err) }()
	if err := fs.ready(); err != nil {
		return nil, err
	}
	sealed, err := fs.o.Index.Changes(ctx, since, limit)
	if err != nil {
		return nil, err
	}
	out := make([]efs.Change, len(sealed))
	for i := range sealed {
		if i > 0 {
			if err := fs.linked(&sealed[i-1], &sealed[i]); err != nil {
				return nil, err
			}
		}
		if err := fs.openChange(&sealed[i], &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// linked checks that b is the change that was logged after a.
func (fs *FS) linked(a, b *efs.SealedChange) error {
	if b.Seq != a.Seq+1 || fs.sealer.Link(a.Link, b.Seq, b.Sealed) != b.Link {
		return fmt.Errorf("change %d: %w: it is not linked to the one before", b.Seq, efs.ErrDamaged)
	}
	return nil
}

func (fs *FS) openChange(s *efs.SealedChange, c *efs.Change) error {
	open := fs.sealer.OpenChange
	if tag, ok := record.UnitTag(s.Sealed); ok {
		u, err := fs.unitByTag(tag)
		if isForgotten(err) {
			*c = efs.Change{Seq: s.Seq, Op: efs.OpForgotten}
			return nil
		}
		if err != nil {
			return fmt.Errorf("change %d: %w", s.Seq, err)
		}
		open = u.rec.OpenChange
	}
	b, err := open(s.Sealed)
	if err != nil {
		return fmt.Errorf("change %d: %w", s.Seq, err)
	}
	defer clear(b)
	if err := detcbor.UnmarshalKnown(b, c); err != nil {
		return fmt.Errorf("change %d: %w: %w", s.Seq, efs.ErrDamaged, err)
	}
	c.Seq = s.Seq
	return nil
}

// Wait returns when there is a change after sequence number since, or with
// the error of ctx, or efs.ErrStopped when the file system is closed.
func (fs *FS) Wait(ctx context.Context, since uint64) error {
	for {
		if err := fs.ready(); err != nil {
			return err
		}
		more := fs.o.Index.Committed() // before the head is read, so that no commit is missed
		h, err := fs.o.Index.Head(ctx)
		if err != nil || h.Seq > since {
			return err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		case <-fs.work.ctx.Done():
		}
	}
}
