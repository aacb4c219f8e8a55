package fsys

import (
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/receipt"
)

// destroyUnits destroys the keys of units; those that the key store does not
// know, as it was put back from before they were made, are none.
func (fs *FS) destroyUnits(ctx context.Context, ids []efs.ID) error {
	if len(ids) == 0 {
		return nil
	}
	err := fs.o.Keys.DestroyUnits(ctx, ids...)
	if !errors.Is(err, efs.ErrNotFound) {
		return err
	}
	for _, id := range ids {
		if err := fs.o.Keys.DestroyUnits(ctx, id); err != nil && !errors.Is(err, efs.ErrNotFound) {
			return err
		}
	}
	return nil
}

// reapAll empties what is detached now, as far as it can.
func (fs *FS) reapAll(ctx context.Context) {
	fs.work.keeping.Lock()
	defer fs.work.keeping.Unlock()
	fs.report("emptying deleted directories", fs.reap(ctx))
}

// forgetAgain destroys the keys of units that were forgotten and are there
// again: an older key store was put back.
func (fs *FS) forgetAgain(ctx context.Context) error {
	var back []efs.ID
	err := fs.scan(ctx, efs.SpaceMeta, []byte{metaReceipt}, scanPage, func(r *efs.Record) error {
		var b []byte
		if err := fs.open(efs.SpaceMeta, r.Key, r.Sealed, &b); err != nil {
			return fmt.Errorf("receipt: %w", err)
		}
		units, err := receipt.Units(b)
		if err != nil {
			return err
		}
		for _, id := range units {
			if _, err := fs.o.Keys.Unit(id); err == nil {
				back = append(back, id)
			}
		}
		return nil
	})
	if len(back) > 0 {
		fs.log.Warn("an older key store was put back: destroying the keys of what was forgotten again", "units", len(back))
	}
	return errors.Join(err, fs.destroyUnits(ctx, back))
}
