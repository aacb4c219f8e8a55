package fsys

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// stranger is a content of which the index knows nothing, with what its trailer
// tells.
type stranger struct {
	id     efs.ID
	sealed int64
	inline bool // it lies in the index
	trailer
	unit  *unit // that its slots name; nil: none
	epoch int
}

type trailer = seal.Trailer

// strangers looks at the contents that nothing in the index refers to: of each
// it finds out whether it was replaced, is the same as one that is missing, or is
// new.
func (r *rebuild) strangers() error {
	for i, id := range r.blobs {
		if r.progress != nil && i%256 == 0 {
			r.progress(int64(i), int64(len(r.blobs)))
		}
		if r.known[i] {
			continue
		}
		if err := r.stranger(id); err != nil {
			return fmt.Errorf("content %s: %w", id, err)
		}
	}
	return nil
}

func (r *rebuild) stranger(id efs.ID) error {
	claim, err := r.fs.claimed(r.ctx, id)
	switch {
	case isForgotten(err):
		return r.toDelete(id) // no key opens it any more
	case errors.Is(err, efs.ErrDamaged):
		r.report.Unopened = append(r.report.Unopened, id.String())
		return nil
	case err != nil || claim != unclaimed:
		return err
	}
	s, err := r.fs.readStranger(r.ctx, id)
	switch {
	case errors.Is(err, efs.ErrDamaged):
		r.report.Unopened = append(r.report.Unopened, id.String())
		return nil
	case err != nil:
		return err
	}
	e, err := r.fs.byFile(r.ctx, s.Recovery.File)
	if err != nil || e == nil || s.Recovery.Version > e.Version {
		r.found = append(r.found, *s)
		return err
	}
	switch {
	case s.Recovery.Version == 0 && s.Recovery.Extents == 0:
		// A part of an upload that replaces the file, or has replaced it: then
		// nothing else is left of either version.
		r.found = append(r.found, *s)
		return nil
	case r.isMissing(e.File):
		return r.heal(e, s)
	}
	return r.toDelete(id)
}

// readStranger reads what a blob tells of itself.
func (fs *FS) readStranger(ctx context.Context, id efs.ID) (*stranger, error) {
	b, err := fs.o.Blobs.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return fs.strangerOf(id, b, b.Size())
}

// strangerOf reads what a sealed content tells of itself.
func (fs *FS) strangerOf(id efs.ID, b io.ReaderAt, size int64) (*stranger, error) {
	rd, err := seal.NewReaderAt(b, size, &seal.Open{FS: fs.o.ID, Content: id, Identities: fs.ident, Size: -1, PlainSize: -1})
	if err != nil {
		return nil, damaged(id, err)
	}
	defer rd.Close()
	t, err := rd.Trailer()
	if err != nil {
		return nil, damaged(id, err)
	}
	s := &stranger{id: id, sealed: size, trailer: *t}
	for _, stage := range rd.Header().Stages {
		for _, slot := range stage.Slots {
			if len(slot.Key) != 16 {
				continue
			}
			if epoch, ok := fs.o.Keys.EpochOf([16]byte(slot.Key)); ok {
				s.epoch = epoch
			} else if k, err := fs.o.Keys.UnitOfSlot([16]byte(slot.Key)); err == nil {
				if s.unit, err = fs.unit(k.ID()); err != nil {
					return nil, err
				}
			}
		}
	}
	return s, nil
}

// strangersExtent is the extent of a stranger in a file, at an offset.
func (fs *FS) strangersExtent(s *stranger, offset int64) efs.Extent {
	return efs.Extent{
		Offset: offset, Length: s.Size, Sealed: s.sealed, Content: s.id, Inline: s.inline,
		Policy: fs.policy.Load().Version, Epoch: s.epoch,
	}
}

// heal puts a content in the place of the one that is missing in e, if it holds
// the same: the file was sealed anew after the journal's end.
func (r *rebuild) heal(e *keyedEntry, s *stranger) error {
	i := s.Recovery.Extent
	same := s.Recovery.Extents == len(e.Extents) && i < len(e.Extents) && e.Extents[i].Length == s.Size && !e.Extents[i].Inline
	if same && len(e.Extents) == 1 && e.DigestKind == efs.DigestFull && s.HasDigest {
		same = bytes.Equal(e.Digest, s.SHA256[:])
	} else if same {
		// Where no digest tells, an older version, which somebody put back, may have the same length.
		same = s.Recovery.Version == e.Version
	}
	if !same || r.isThere(e.Extents[i].Content) {
		return r.toDelete(s.id)
	}
	recs, err := r.fs.o.Index.Get(r.ctx, efs.Key{Space: efs.SpaceEntries, Bytes: e.key[:]})
	if err != nil {
		return err
	}
	u, err := r.fs.unitOfRecord(recs[0].Sealed)
	if err != nil {
		return err
	}
	after := r.fs.strangersExtent(s, e.Extents[i].Offset)
	t := r.fs.begin(Who{})
	t.relocate(&relocation{entry: e.Entry, unit: u, key: e.key, version: recs[0].Version, swaps: []swap{{old: e.Extents[i], new: after}}})
	if _, err := t.commit(r.ctx); err != nil {
		return err
	}
	r.report.Resealed++
	if e, err = r.fs.byFile(r.ctx, e.File); err != nil {
		return err
	}
	r.missing[e.File] = true
	if !slices.ContainsFunc(e.Extents, func(x efs.Extent) bool { return !x.Inline && !r.isThere(x.Content) }) {
		delete(r.missing, e.File)
	}
	return nil
}

// adopt makes files of the contents that are new to the index: of those of one
// version of a file, one.
func (r *rebuild) adopt() error {
	slices.SortFunc(r.found, func(a, b stranger) int {
		return cmp.Or(cmp.Compare(a.Recovery.Path, b.Recovery.Path), bytes.Compare(a.Recovery.File[:], b.Recovery.File[:]),
			-cmp.Compare(a.Recovery.Version, b.Recovery.Version), cmp.Compare(a.Recovery.Extent, b.Recovery.Extent), compareID(a.id, b.id))
	})
	for len(r.found) > 0 {
		n := 1 // contents that follow on each other in one version
		first := &r.found[0].Recovery
		for n < len(r.found) && first.Extent == 0 {
			next := &r.found[n].Recovery
			if next.File != first.File || next.Version != first.Version || next.Extent != n || next.Path != first.Path {
				break
			}
			n++
		}
		if err := r.adoptFile(r.found[:n]); err != nil {
			return err
		}
		r.found = r.found[n:]
	}
	return nil
}

// adoptFile puts contents that make one file below RecoveredDir.
func (r *rebuild) adoptFile(parts []stranger) error {
	for _, path := range r.fs.recoveredPaths(&parts[0]) {
		err := retry(func() error { return r.fs.adoptAt(r.ctx, path, parts) })
		if errors.Is(err, efs.ErrExists) || errors.Is(err, efs.ErrNotDir) || errors.Is(err, efs.ErrBadPath) || errors.Is(err, errOtherUnit) {
			continue
		}
		if err != nil {
			return fmt.Errorf("content %s: %w", parts[0].id, err)
		}
		if r.report.RecoveredFiles++; r.report.RecoveredFiles <= rebuildPaths {
			r.report.Recovered = append(r.report.Recovered, "/"+path)
		}
		return nil
	}
	for i := range parts {
		r.report.Unopened = append(r.report.Unopened, parts[i].id.String())
	}
	return nil
}

// recoveredPaths are where a content may come to lie, the best place first. What
// belongs to an erasure unit stays below its directory.
func (fs *FS) recoveredPaths(s *stranger) []string {
	segs, err := ParsePath(s.Recovery.Path)
	if err != nil || len(segs) == 0 {
		segs = []string{s.id.String()}
	}
	var above []string
	if p, err := ParseUnitPattern(fs.policy.Load().ErasureUnit); s.unit != nil && err == nil && len(p.segs) < len(segs) {
		above, segs = segs[:len(p.segs)], segs[len(p.segs):]
	}
	at := func(name ...string) string { return join(slices.Concat(above, []string{RecoveredDir}, name)) }
	plain := at(segs...)
	numbered := fmt.Sprintf("%s~%d", plain, s.Recovery.Version)
	if s.Recovery.Extent > 0 {
		plain = fmt.Sprintf("%s~part%d", plain, s.Recovery.Extent+1)
		numbered = plain
	}
	// The last one lies in no unit, whatever the pattern.
	paths := []string{plain, numbered, plain + "~" + s.id.String(), at(s.id.String())}
	if s.unit == nil {
		paths = append(paths, RecoveredDir+"~"+s.id.String())
	}
	return paths
}

// adoptAt stores contents that are there as the file at path, which must not be
// taken, in the unit that they are sealed for.
func (fs *FS) adoptAt(ctx context.Context, path string, parts []stranger) error {
	segs, err := parseFile(path)
	if err != nil {
		return err
	}
	first := &parts[0].Recovery
	p := &put{fs: fs, segs: segs, create: true, o: PutOptions{Who: Who{User: first.Owner}, Type: first.Type, Meta: first.Meta, Mode: first.Mode}}
	p.units.fs = fs
	if u := parts[0].unit; u != nil {
		p.units.made, p.units.used = u, true // its key is there
	}
	defer func() { p.units.end(ctx) }()
	s, err := p.locate(ctx)
	if err != nil {
		return err
	}
	t, u, err := p.begin(ctx, s)
	if err != nil {
		return err
	}
	if u.id() != parts[0].unit.id() {
		return errOtherUnit
	}
	e := p.entry(s, t)
	e.Created, e.Modified = first.Created, first.Modified
	e.Version = max(1, first.Version)
	own := false // the trailer's file is free to be this one
	if first.File != (efs.ID{}) {
		known, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceFiles, Bytes: first.File[:]})
		if err != nil {
			return err
		}
		if own = known[0].Version == 0; own {
			e.File = first.File
		}
	}
	fs.fillStrange(e, parts)
	for i := range parts {
		if id := parts[i].id; !own {
			t.putIn(u, efs.SpaceContents, id[:], content{File: e.File})
		}
	}
	return p.commit(ctx, s, t, e)
}

// fillStrange sets what e has from contents that follow on each other.
func (fs *FS) fillStrange(e *efs.Entry, parts []stranger) {
	if len(parts) == 1 && parts[0].HasDigest {
		e.Digest, e.DigestKind = slices.Clone(parts[0].SHA256[:]), efs.DigestFull
	} else {
		composite := sha256.New()
		for i := range parts {
			composite.Write(parts[i].SHA256[:])
		}
		e.Digest, e.DigestKind = composite.Sum(nil), efs.DigestComposite
	}
	for i := range parts {
		e.Extents = append(e.Extents, fs.strangersExtent(&parts[i], e.Size))
		e.Size += parts[i].Size
	}
}
