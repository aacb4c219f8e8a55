package fsys

import (
	"context"
	"fmt"

	"github.com/efs-project/efs"
)

// ViewOf returns a view of an index that no file system is opened from, such as
// that of a backup: o has id, name, keys and the blobs of it. Nothing is held,
// and nothing is changed: what an open file system does in the background, such
// as destroying keys of erasure units that its index does not know, is not done.
// It owns the snapshot.
func ViewOf(ctx context.Context, o Options, at efs.IndexSnapshot) (*View, error) {
	o.Index, o.Anchor, o.Audit, o.Cache = frozen{at}, nil, nil, nil
	past, err := assemble(o)
	if err != nil {
		return nil, err
	}
	recs, err := at.Get(ctx, efs.Key{Space: efs.SpacePlaces, Bytes: o.ID[:]})
	if err != nil {
		return nil, err
	}
	var root place
	if err := past.open(efs.SpacePlaces, o.ID[:], recs[0].Sealed, &root); err != nil {
		return nil, fmt.Errorf("root of file system '%s': %w", o.Name, err)
	}
	past.created = root.Created
	v := &View{live: past, past: past, at: at, alone: true, end: make(chan struct{}), ended: make(chan struct{})}
	close(v.ended)
	return v, nil
}

// Usages returns what all accounts had in use: that of the file system, and
// those of users with a quota.
func (v *View) Usages(ctx context.Context) (map[efs.ID]efs.Usage, error) {
	accounts := []efs.ID{v.past.o.ID}
	err := v.past.scan(ctx, efs.SpaceMeta, []byte{metaQuota}, scanPage, func(r *efs.Record) error {
		var rec quotaRecord
		if err := v.past.open(efs.SpaceMeta, r.Key, r.Sealed, &rec); err != nil {
			return fmt.Errorf("quota record: %w", err)
		}
		if !rec.Account.IsZero() {
			accounts = append(accounts, rec.Account)
		}
		return nil
	})
	all := map[efs.ID]efs.Usage{}
	for _, a := range accounts {
		if err == nil {
			all[a], err = v.at.Usage(ctx, a)
		}
	}
	return all, err
}
