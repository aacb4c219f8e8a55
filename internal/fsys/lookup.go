package fsys

import (
	"context"
	"fmt"
	"strings"

	"github.com/efs-project/efs"
)

// dirNode is a directory on a path, with its generation: the version of its
// place record, which changes only when the directory is moved or detached.
type dirNode struct {
	id   efs.ID
	gen  uint64
	unit efs.ID // its erasure unit; zero: none
	own  bool   // its names have tokens of the unit
}

// chain is the directories of a path below the root, topmost first. It is
// never changed once made, as the path cache shares it.
type chain []dirNode

// entryKey is a key in SpaceEntries: directory ‖ token.
type entryKey [32]byte

func (k *entryKey) dir() efs.ID { return efs.ID(k[:16]) }

// spot is where a path leads, as of one moment: its entry, or the deepest
// existing directory and what is missing from there.
type spot struct {
	segs    []string
	chain   chain      // the directories that exist
	missing []string   // segments from there: the entry's name alone, or missing directories before it
	key     entryKey   // of missing[0] in the deepest directory
	version uint64     // of the record under key; 0: none
	entry   *efs.Entry // of the whole path; nil: none

	tokens       // of the deepest directory, with its unit
	of     *unit // that the entry's record belongs to
}

// unitOf is the unit that the entry belongs to: its directory's, or its own if
// it is a unit's directory.
func (s *spot) unitOf() *unit {
	if s.unit != nil {
		return s.unit
	}
	return s.of
}

func (s *spot) path() string { return join(s.segs) }

func (s *spot) name() string { return s.segs[len(s.segs)-1] }

// dirPath is the path of the first n segments.
func dirPath(segs []string, n int) string { return strings.Join(segs[:n], "/") }

// maxTries bounds how often something is looked at again because it changed
// meanwhile. Each try that fails means that somebody else got through.
const maxTries = 200

var errBusy = fmt.Errorf("%w: too many changes at once to the same path: try again", efs.ErrUnavailable)

// locate follows segs (at least one). The whole answer, places and entry, is
// read as of one moment: with the directory in the path cache that is one
// round trip.
func (fs *FS) locate(ctx context.Context, segs []string) (*spot, error) {
	if err := fs.ready(); err != nil {
		return nil, err
	}
	c := fs.cached(segs)
	for tries := 0; tries < maxTries; {
		s, next, err := fs.step(ctx, segs, c)
		if err != nil {
			return nil, err
		}
		if s != nil {
			return s, nil
		}
		if len(next) <= len(c) {
			tries++
		}
		c = next
	}
	return nil, errBusy
}

// cached returns the chain of the longest cached directory above segs.
func (fs *FS) cached(segs []string) chain {
	for n := len(segs) - 1; n > 0; n-- {
		if c, ok := fs.paths.Get(dirPath(segs, n)); ok {
			return c
		}
	}
	return nil
}

// step reads the places of c and the entry below it. It returns the spot if
// that ends the path, else the chain to go on with.
func (fs *FS) step(ctx context.Context, segs []string, c chain) (*spot, chain, error) {
	depth := len(c)
	dir := fs.o.ID
	var in tokens
	if depth > 0 && !c[depth-1].unit.IsZero() {
		u, err := fs.unit(c[depth-1].unit)
		if isForgotten(err) {
			fs.forget(segs, depth)
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		in = tokens{u, c[depth-1].own}
	}
	// One allocation for what a path of usual depth needs.
	var room struct {
		spot
		keys [8]efs.Key
	}
	keys := room.keys[:0]
	for i := range c {
		keys = append(keys, efs.Key{Space: efs.SpacePlaces, Bytes: c[i].id[:]})
		dir = c[i].id
	}
	key, err := fs.entryKey(in, dir, segs[depth])
	if err != nil {
		return nil, nil, err
	}
	s := &room.spot
	*s = spot{segs: segs, chain: c, missing: segs[depth:], key: key, tokens: in}
	keys = append(keys, efs.Key{Space: efs.SpaceEntries, Bytes: s.key[:]})
	recs, err := fs.o.Index.Get(ctx, keys...)
	if err != nil {
		return nil, nil, err
	}
	for i := range c {
		if recs[i].Version != c[i].gen {
			fs.forget(segs, depth)
			return nil, nil, nil
		}
	}
	rec := recs[depth]
	s.version = rec.Version
	if rec.Version == 0 {
		return s, nil, nil
	}
	e, u, err := fs.openOwnUnitEntry(s.key[:], rec.Sealed)
	if isForgotten(err) {
		return s, nil, nil // as if there were none: a record from before it was forgotten
	}
	if err != nil {
		return nil, nil, err
	}
	if e.Name != segs[depth] {
		return nil, nil, fmt.Errorf("%w: entry of another name", efs.ErrDamaged)
	}
	if depth == len(segs)-1 {
		s.entry, s.of = e, u
		return s, nil, nil
	}
	if e.Kind != efs.KindDir {
		return nil, nil, fmt.Errorf("%w: '%s'", efs.ErrNotDir, dirPath(segs, depth+1))
	}
	next, err := fs.descend(ctx, segs, c, e.File, in.unit)
	return nil, next, err
}

// descend adds the directory of the given id, found under segs[len(c)], to c.
// It belongs to the unit of the directory above it, if that belongs to one. If
// it has been moved meanwhile it returns c as it is, to look again.
func (fs *FS) descend(ctx context.Context, segs []string, c chain, dir efs.ID, above *unit) (chain, error) {
	depth := len(c)
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpacePlaces, Bytes: dir[:]})
	if err != nil {
		return nil, err
	}
	if recs[0].Version == 0 {
		return c, nil
	}
	p, u, err := fs.openPlace(dir, recs[0].Sealed)
	if isForgotten(err) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if above != nil {
		u = above
	}
	if p.Parent != fs.last(c) || p.Name != segs[depth] {
		return c, nil
	}
	next := append(c[:depth:depth], dirNode{dir, recs[0].Version, u.id(), p.Own})
	fs.rememberPath(segs, depth+1, next)
	return next, nil
}

// rememberPath caches what the first n names lead to, under a copy of them: a
// path may be part of a request's head, with all that is in it.
func (fs *FS) rememberPath(segs []string, n int, c chain) {
	fs.paths.Put(strings.Clone(dirPath(segs, n)), c)
}

// last is the deepest directory of c.
func (fs *FS) last(c chain) efs.ID {
	if len(c) == 0 {
		return fs.o.ID
	}
	return c[len(c)-1].id
}

// forget drops what is cached of the first n directories of segs.
func (fs *FS) forget(segs []string, n int) {
	for ; n > 0; n-- {
		fs.paths.Drop(dirPath(segs, n))
	}
}

// found returns the entry at segs, or efs.ErrNotFound.
func (fs *FS) found(ctx context.Context, segs []string) (*spot, error) {
	s, err := fs.locate(ctx, segs)
	if err != nil {
		return nil, err
	}
	if s.entry == nil {
		return nil, fmt.Errorf("%w: '%s'", efs.ErrNotFound, s.path())
	}
	return s, nil
}

// Stat returns the entry at path. The root's is made up: it has no ETag that
// changes and cannot be patched.
func (fs *FS) Stat(ctx context.Context, path string) (e efs.Entry, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.Stat")
	defer func() { span.EndWith(err) }()
	segs, err := ParsePath(path)
	if err != nil {
		return efs.Entry{}, err
	}
	if len(segs) == 0 {
		return fs.rootEntry(), fs.ready()
	}
	s, err := fs.found(ctx, segs)
	if err != nil {
		return efs.Entry{}, err
	}
	return *s.entry, nil
}

func (fs *FS) rootEntry() efs.Entry {
	return efs.Entry{
		File: fs.o.ID, Kind: efs.KindDir, Version: 1, ETag: "root",
		Created: fs.created, Modified: fs.created,
	}
}
