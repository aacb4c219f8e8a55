package salvage

import (
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/record"
	"github.com/efs-project/efs/seal"
)

// reader opens records and contents of one file system.
type reader struct {
	keys    *Keys
	ids     []seal.Identity
	sealer  *record.Sealer
	units   map[efs.ID]*record.Unit
	records Records
	blobs   *blobs
}

func newReader(k *Keys, s *state, b *blobs) (*reader, error) {
	sealer, err := newSealer(k)
	if err != nil {
		return nil, err
	}
	return &reader{keys: k, ids: []seal.Identity{k.Identity()}, sealer: sealer, units: map[efs.ID]*record.Unit{}, records: s.records, blobs: b}, nil
}

// open opens a record. efs.ErrForgotten, efs.ErrDamaged.
func (r *reader) open(space efs.Space, key, sealed []byte) ([]byte, error) {
	tag, ok := record.UnitTag(sealed)
	if !ok {
		return r.sealer.Open(space, key, sealed)
	}
	u, err := r.unit(tag)
	if err != nil {
		return nil, err
	}
	return u.Open(space, key, sealed)
}

func (r *reader) unit(tag [record.TagSize]byte) (*record.Unit, error) {
	k, err := r.keys.UnitByTag(tag)
	if errors.Is(err, efs.ErrNotFound) {
		return nil, fmt.Errorf("%w: the key of its erasure unit is not in the key store", efs.ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	if u := r.units[k.ID()]; u != nil {
		return u, nil
	}
	root, err := k.Root("records")
	if err != nil {
		return nil, err
	}
	defer clear(root)
	u, err := record.NewUnit(r.keys.ID, root, k.Tag)
	if err == nil {
		if len(r.units) > 1<<14 {
			clear(r.units)
		}
		r.units[k.ID()] = u
	}
	return u, err
}

// entry opens an entry record and checks its form.
func (r *reader) entry(key, sealed []byte) (*efs.Entry, error) {
	b, err := r.open(efs.SpaceEntries, key, sealed)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	e := new(efs.Entry)
	if err := detcbor.UnmarshalKnown(b, e); err != nil {
		return nil, fmt.Errorf("%w: an entry is unreadable", efs.ErrDamaged)
	}
	if err := e.CheckExtents(); err != nil {
		return nil, err
	}
	return e, nil
}

// entryOf returns the entry of a file by its id; nil if there is none.
func (r *reader) entryOf(ctx context.Context, file efs.ID) (*efs.Entry, error) {
	recs, err := r.records.Get(ctx, efs.Key{Space: efs.SpaceFiles, Bytes: file[:]})
	if err != nil || recs[0].Version == 0 {
		return nil, err
	}
	b, err := r.open(efs.SpaceFiles, file[:], recs[0].Sealed)
	if err != nil {
		return nil, err
	}
	var key []byte
	if err := detcbor.UnmarshalKnown(b, &key); err != nil {
		return nil, fmt.Errorf("%w: the record of a file is unreadable", efs.ErrDamaged)
	}
	if recs, err = r.records.Get(ctx, efs.Key{Space: efs.SpaceEntries, Bytes: key}); err != nil || recs[0].Version == 0 {
		return nil, err
	}
	return r.entry(key, recs[0].Sealed)
}

// contentFile returns the file that the record of a content names.
func (r *reader) contentFile(id efs.ID, sealed []byte) (efs.ID, error) {
	b, err := r.open(efs.SpaceContents, id[:], sealed)
	if err != nil {
		return efs.ID{}, err
	}
	var c struct {
		File efs.ID `cbor:"1,keyasint"`
	}
	if err := detcbor.UnmarshalKnown(b, &c); err != nil {
		return efs.ID{}, fmt.Errorf("%w: the record of a content is unreadable", efs.ErrDamaged)
	}
	return c.File, nil
}
