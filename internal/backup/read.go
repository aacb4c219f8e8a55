package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/journal"
)

// ReadIndex gives the index of a backup to v. What is passed may be kept.
// efs.ErrDamaged if it is not whole.
func (r *Repository) ReadIndex(m Manifest, key []byte, v *journal.Visitor) (journal.Report, error) {
	f, err := os.Open(r.indexPath(m.Name))
	if err != nil {
		return journal.Report{}, fmt.Errorf("index of backup %s: %w", m.Name, err)
	}
	defer func() { _ = f.Close() }() // only read
	rep, err := journal.ReadCheckpointTo(f, key, v)
	switch {
	case err != nil:
		return rep, fmt.Errorf("index of backup %s: %w", m.Name, err)
	case !rep.Complete:
		return rep, fmt.Errorf("index of backup %s: %w: %s", m.Name, efs.ErrDamaged, rep.Lost)
	case rep.Seq != m.Sequence || rep.Revision != m.Revision:
		return rep, fmt.Errorf("index of backup %s: %w: it is that of change %d", m.Name, efs.ErrDamaged, rep.Seq)
	}
	return rep, nil
}

// CopyContents copies the contents of a backup to a store, those of the right
// length that are there excepted, and returns how many are missing here.
func (r *Repository) CopyContents(ctx context.Context, m Manifest, to *dir.Store, link bool, progress func(done, total int64)) (lost int64, err error) {
	bulk := to.Bulk(link)
	defer func() {
		if err != nil {
			bulk.Abort()
			err = fmt.Errorf("contents of backup %s: %w", m.Name, noSpace(err))
		}
	}()
	done := int64(0)
	err = r.eachContent(m.Name, func(c Content) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if done += c.Sealed; progress != nil {
			progress(done, m.ContentBytes)
		}
		if size, err := to.Size(c.ID); err == nil && size == c.Sealed {
			return nil
		}
		b, err := r.blobs.Open(ctx, c.ID)
		if errors.Is(err, efs.ErrNotFound) || errors.Is(err, efs.ErrDamaged) {
			lost++
			return nil
		}
		if err != nil {
			return err
		}
		defer func() { _ = b.Close() }() // only read
		return bulk.Add(ctx, c.ID, b)
	})
	if err == nil {
		err = bulk.Flush()
	}
	return lost, err
}

// noSpace makes a full volume efs.ErrNoSpace.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", efs.ErrNoSpace, err)
	}
	return err
}
