package fsys

import (
	"context"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
)

// maxDepth is how many directories a path can have.
const maxDepth = efs.MaxPath/2 + 1

// Resolve returns the path of a file or directory by its id. efs.ErrNotFound
// if there is none, or if it is in a directory that has been deleted.
func (fs *FS) Resolve(ctx context.Context, id efs.ID) (path string, err error) {
	if err := fs.ready(); err != nil {
		return "", err
	}
	if id == fs.o.ID {
		return "", nil
	}
	for range openTries {
		segs, err := fs.climb(ctx, id)
		if err != nil {
			return "", err
		}
		s, err := fs.locate(ctx, segs)
		if err == nil && s.entry != nil && s.entry.File == id {
			return s.path(), nil
		}
		// It was moved between two looks.
	}
	return "", fmt.Errorf("%w: id %s", efs.ErrNotFound, id)
}

// climb collects names from id up to the root.
func (fs *FS) climb(ctx context.Context, id efs.ID) ([]string, error) {
	dir := id
	var segs []string
	e, err := fs.byFile(ctx, id)
	if err != nil {
		return nil, err
	}
	if e != nil {
		segs = append(segs, e.Name)
		dir = e.key.dir()
	}
	for range maxDepth {
		if dir == fs.o.ID {
			slices.Reverse(segs)
			return segs, nil
		}
		p, _, err := fs.place(ctx, dir)
		if err != nil {
			return nil, err
		}
		if p == nil {
			return nil, fmt.Errorf("%w: id %s", efs.ErrNotFound, id)
		}
		segs = append(segs, p.Name)
		dir = p.Parent
	}
	return nil, fmt.Errorf("directory %s: %w: it hangs in a circle", id, efs.ErrDamaged)
}

// keyedEntry is an entry with its key.
type keyedEntry struct {
	*efs.Entry
	key entryKey
}

// byFile returns the entry of the file with an id; nil if there is none.
func (fs *FS) byFile(ctx context.Context, id efs.ID) (*keyedEntry, error) {
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceFiles, Bytes: id[:]})
	if err != nil || recs[0].Version == 0 {
		return nil, err
	}
	key, err := fs.openFileRecord(id, recs[0].Sealed)
	if err != nil {
		return nil, err
	}
	recs, err = fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceEntries, Bytes: key[:]})
	if err != nil || recs[0].Version == 0 {
		return nil, err
	}
	e, err := fs.openEntry(key[:], recs[0].Sealed)
	if err != nil || e.File != id {
		return nil, err
	}
	return &keyedEntry{e, key}, nil
}

// openFileRecord opens a record of SpaceFiles.
func (fs *FS) openFileRecord(id efs.ID, sealed []byte) (key entryKey, err error) {
	var b []byte
	if err := fs.open(efs.SpaceFiles, id[:], sealed, &b); err != nil {
		return key, fmt.Errorf("file %s: %w", id, err)
	}
	if len(b) != len(key) {
		return key, fmt.Errorf("file %s: %w: a key of %d bytes", id, efs.ErrDamaged, len(b))
	}
	return entryKey(b), nil
}

// place returns the place of a directory and its generation; nil if the
// directory is not there.
func (fs *FS) place(ctx context.Context, dir efs.ID) (*place, uint64, error) {
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpacePlaces, Bytes: dir[:]})
	if err != nil || recs[0].Version == 0 {
		return nil, 0, err
	}
	p, _, err := fs.openPlace(dir, recs[0].Sealed)
	if err != nil {
		return nil, 0, err
	}
	return &p, recs[0].Version, nil
}
