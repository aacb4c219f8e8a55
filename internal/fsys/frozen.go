package fsys

import (
	"context"
	"fmt"

	"github.com/efs-project/efs"
)

// frozen makes a snapshot look like an index that nothing can be committed to,
// so that all that reads an index reads a snapshot too.
type frozen struct{ efs.IndexSnapshot }

var _ efs.Index = frozen{}

var errFrozen = fmt.Errorf("this is a snapshot: %w", efs.ErrUnsupported)

func (f frozen) Head(ctx context.Context) (efs.Head, error) { return f.IndexSnapshot.Head(), ctx.Err() }

func (frozen) Commit(context.Context, *efs.Txn) (efs.Committed, error) {
	return efs.Committed{}, errFrozen
}
func (frozen) Changes(context.Context, uint64, int) ([]efs.SealedChange, error) {
	return nil, errFrozen
}
func (frozen) TrimChanges(context.Context, uint64) error               { return errFrozen }
func (frozen) LogBounds(context.Context) (first, last uint64, _ error) { return 0, 0, errFrozen }
func (frozen) Committed() <-chan struct{}                              { return nil }
func (frozen) Releasable(context.Context, int) ([]efs.Release, error)  { return nil, errFrozen }
func (frozen) Follow(efs.IndexFollower) (efs.Head, func(), error) {
	return efs.Head{}, nil, errFrozen
}
func (frozen) SetMark(context.Context, efs.Mark) error              { return errFrozen }
func (frozen) DropMark(context.Context, efs.MarkKind, string) error { return errFrozen }
func (frozen) Marks(context.Context) ([]efs.Mark, error)            { return nil, errFrozen }
func (frozen) Snapshot(context.Context) (efs.IndexSnapshot, error)  { return nil, errFrozen }
func (frozen) Stats() efs.IndexStats                                { return efs.IndexStats{} }
func (frozen) Err() error                                           { return nil }
