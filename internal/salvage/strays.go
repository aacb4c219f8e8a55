package salvage

import (
	"context"
	"slices"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/detcbor"
)

// strays emits, below recovered/, the directories that no entry leads to, as
// that was in a part of the tree that is lost, with all below them. Those that were deleted
// and not emptied yet cannot be told from them.
func (j *job) strays(ctx context.Context) error {
	tops, err := j.unreached(ctx)
	if err != nil || len(tops) == 0 {
		return err
	}
	in := j.recoveredIn()
	for _, dir := range tops {
		if j.seen[dir] { // in another one meanwhile
			continue
		}
		name := in + "/" + j.nameOf(ctx, dir)
		if err := j.parents(name); err != nil {
			return err
		}
		if err := j.dir(ctx, dir, name+"/", name+"/", []efs.ID{dir}); err != nil {
			return err
		}
	}
	return nil
}

// unreached returns the directories that were not read, those first that hang
// in none of them.
func (j *job) unreached(ctx context.Context) ([]efs.ID, error) {
	hangs := map[efs.ID]bool{} // those not read; whether one of them holds it
	err := j.scanEntries(ctx, nil, func(rec *efs.Record) error {
		if len(rec.Key) < len(efs.ID{}) || j.seen[efs.ID(rec.Key[:16])] {
			return nil
		}
		dir := efs.ID(rec.Key[:16])
		hangs[dir] = hangs[dir] || false
		if e, err := j.entry(rec.Key, rec.Sealed); err == nil && e.Kind == efs.KindDir {
			hangs[e.File] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]efs.ID, 0, len(hangs))
	for dir := range hangs {
		all = append(all, dir)
	}
	slices.SortFunc(all, func(a, b efs.ID) int {
		if hangs[a] != hangs[b] {
			if hangs[b] {
				return -1
			}
			return 1
		}
		return slices.Compare(a[:], b[:])
	})
	return all, nil
}

// nameOf is what a directory without an entry is called: its id, behind the name
// that it had where its place tells.
func (j *job) nameOf(ctx context.Context, dir efs.ID) string {
	var place struct {
		Name string `cbor:"2,keyasint"`
	}
	recs, err := j.records.Get(ctx, efs.Key{Space: efs.SpacePlaces, Bytes: dir[:]})
	if err == nil && recs[0].Version != 0 {
		if b, err := j.open(efs.SpacePlaces, dir[:], recs[0].Sealed); err == nil {
			_ = detcbor.UnmarshalKnown(b, &place) // else it has no name
		}
	}
	if name := place.Name + "~" + dir.String(); place.Name != "" && !strings.Contains(name, "/") && archive.ValidName(name) {
		return name
	}
	return dir.String()
}
