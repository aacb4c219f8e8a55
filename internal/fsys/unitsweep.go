package fsys

import (
	"context"
	"fmt"

	"github.com/efs-project/efs"
)

// metaSwept is the key in SpaceMeta of the time until which every unit's key
// has been compared with the units' records.
const metaSwept = 'U'

type swept struct {
	Until int64 `cbor:"1,keyasint"` // Unix time, microseconds
}

// sweepUnits destroys the keys of units whose directories were never made: the
// last run was killed in between. Only keys made since the last comparison and
// before this run began are looked at. After an index was put back from the
// past none is destroyed, now or later, that was made before: its unit may be
// in an index that is put back yet.
func (fs *FS) sweepUnits(ctx context.Context, began int64) error {
	if fs.o.Anchor == nil {
		return nil // an index from the past would not be noticed
	}
	key := []byte{metaSwept}
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceMeta, Bytes: key})
	if err != nil {
		return err
	}
	var last swept
	if recs[0].Version != 0 {
		if err := fs.open(efs.SpaceMeta, key, recs[0].Sealed, &last); err != nil {
			return fmt.Errorf("record of the keys of units: %w", err)
		}
	}
	orphans, some, err := fs.orphanUnits(ctx, last.Until, began)
	if err != nil || !some && !fs.rolledBack {
		return err
	}
	if len(orphans) > 0 && !fs.rolledBack {
		fs.log.Info("destroying keys of erasure units whose directories were never made", "units", len(orphans))
		if err := fs.o.Keys.DestroyUnits(ctx, orphans...); err != nil {
			return err
		}
	}
	t := fs.begin(Who{})
	t.put(efs.SpaceMeta, key, swept{Until: began})
	_, err = t.commit(ctx)
	return err
}

// spareUnits records that the keys of all units that were made until now are
// not to be looked at.
func (fs *FS) spareUnits(ctx context.Context) error {
	key := []byte{metaSwept}
	sealed, err := fs.seal(nil, efs.SpaceMeta, key, swept{Until: fs.now()})
	if err == nil {
		_, err = fs.o.Index.Commit(ctx, &efs.Txn{Mutations: []efs.Mutation{{Key: efs.Key{Space: efs.SpaceMeta, Bytes: key}, Sealed: sealed}}})
	}
	if err != nil {
		return fmt.Errorf("noting until when keys of units are kept: %w", err)
	}
	return nil
}

// orphanUnits returns the units without a record whose keys were made after
// one time and not after another, and whether any keys were.
func (fs *FS) orphanUnits(ctx context.Context, after, until int64) (ids []efs.ID, some bool, err error) {
	units, err := fs.o.Keys.Units()
	if err != nil {
		return nil, false, err
	}
	for _, u := range units {
		if made := u.Created.UnixMicro(); made <= after || made > until || !u.Destroyed.IsZero() {
			continue
		}
		some = true
		recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceMeta, Bytes: unitKey(u.ID)})
		if err != nil {
			return nil, some, err
		}
		if recs[0].Version == 0 {
			ids = append(ids, u.ID)
		}
	}
	return ids, some, nil
}
