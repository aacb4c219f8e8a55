package fsys

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
)

// sealedAccess is a record of SpaceAccess. Kind and name are sealed with the
// value, as the key holds only their tokens.
type sealedAccess struct {
	Kind  string `cbor:"1,keyasint"`
	Name  string `cbor:"2,keyasint"`
	Value []byte `cbor:"3,keyasint"`
}

// accessKey is token of the kind ‖ token of kind and name.
func (fs *FS) accessKey(kind, name string) []byte {
	k, n := fs.names.Access(kind, nil), fs.names.Access(kind, &name)
	return append(k[:], n[:]...)
}

// AccessGet returns an access record and the version to expect when it is
// changed. efs.ErrNotFound.
func (fs *FS) AccessGet(ctx context.Context, kind, name string) (value []byte, version uint64, err error) {
	if err := fs.ready(); err != nil {
		return nil, 0, err
	}
	key := fs.accessKey(kind, name)
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceAccess, Bytes: key})
	if err != nil {
		return nil, 0, err
	}
	if recs[0].Version == 0 {
		return nil, 0, fmt.Errorf("%w: %s '%s'", efs.ErrNotFound, kind, name)
	}
	var a sealedAccess
	if err := fs.openAccess(key, recs[0].Sealed, kind, &a); err != nil {
		return nil, 0, err
	}
	return a.Value, recs[0].Version, nil
}

func (fs *FS) openAccess(key, sealed []byte, kind string, a *sealedAccess) error {
	if err := fs.open(efs.SpaceAccess, key, sealed, a); err != nil {
		return fmt.Errorf("access record of kind %s: %w", kind, err)
	}
	return nil
}

// AccessList returns up to limit records of a kind whose names follow after,
// in the order of their names.
func (fs *FS) AccessList(ctx context.Context, kind, after string, limit int) ([]efs.AccessRecord, error) {
	if err := fs.ready(); err != nil {
		return nil, err
	}
	var out []efs.AccessRecord
	prefix := fs.names.Access(kind, nil)
	err := fs.scan(ctx, efs.SpaceAccess, prefix[:], scanPage, func(r *efs.Record) error {
		var a sealedAccess
		if err := fs.openAccess(r.Key, r.Sealed, kind, &a); err != nil {
			return err
		}
		if a.Name > after {
			out = append(out, efs.AccessRecord{Name: a.Name, Value: a.Value, Version: r.Version})
		}
		return nil
	})
	slices.SortFunc(out, func(a, b efs.AccessRecord) int { return cmp.Compare(a.Name, b.Name) })
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out, err
}

// AccessCommit writes access records, all or none. efs.ErrConflict if one no
// longer has the version that was expected. On return it is durable and
// anchored: an index from before cannot be put back unnoticed.
func (fs *FS) AccessCommit(ctx context.Context, muts []efs.AccessMutation) error {
	if err := fs.ready(); err != nil {
		return err
	}
	t := fs.begin(Who{})
	for i := range muts {
		m := &muts[i]
		key := fs.accessKey(m.Kind, m.Name)
		t.t.Checks = append(t.t.Checks, efs.Check{
			Kind: efs.CheckVersion, Version: m.Version,
			Key: efs.Key{Space: efs.SpaceAccess, Bytes: key},
		})
		if m.Value == nil {
			t.delete(efs.SpaceAccess, key)
		} else {
			t.put(efs.SpaceAccess, key, sealedAccess{Kind: m.Kind, Name: m.Name, Value: m.Value})
		}
		t.change(&efs.Change{Op: efs.OpAccess, Path: m.Kind + "/" + m.Name})
	}
	c, err := t.commit(ctx)
	if err != nil {
		return fmt.Errorf("changing who may: %w", err)
	}
	return fs.anchorAccess(context.WithoutCancel(ctx), c.Revision)
}
