package fsys

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/record"
)

// unitCacheSize is how many erasure units' keys are kept ready.
const unitCacheSize = 1 << 14

// The purposes of an erasure unit's roots.
const (
	unitRecords = "records"
	unitNames   = "names"
)

// unit is an erasure unit with its keys made ready: a directory whose records
// and contents are sealed under a key of its own. A nil *unit stands for what
// lies in none, which the keys of the file system seal. "Erasure units" in
// docs/index.md specifies it.
type unit struct {
	key   *keyring.Unit
	rec   *record.Unit
	names func() (*record.Names, error) // derived when first asked for
}

// id is zero for what lies in no unit.
func (u *unit) id() efs.ID {
	if u == nil {
		return efs.ID{}
	}
	return u.key.ID()
}

// live is nil while what the unit seals may be read: efs.ErrForgotten once its
// key was destroyed.
func (u *unit) live() error {
	if u == nil {
		return nil
	}
	return u.key.Live()
}

// unit returns the unit of an id, nil for zero. efs.ErrForgotten.
func (fs *FS) unit(id efs.ID) (*unit, error) {
	if id.IsZero() {
		return nil, nil
	}
	if u, ok := fs.units.Get(id); ok {
		return u, u.live()
	}
	k, err := fs.o.Keys.Unit(id)
	if err != nil {
		return nil, fmt.Errorf("erasure unit %s: %w", id, err)
	}
	return fs.readyUnit(k)
}

// unitByTag returns the unit that the tag of a record leads to.
func (fs *FS) unitByTag(tag [record.TagSize]byte) (*unit, error) {
	k, err := fs.o.Keys.UnitByTag(tag)
	if errors.Is(err, efs.ErrNotFound) {
		return nil, fmt.Errorf("%w: a tag leads to no erasure unit that there ever was", efs.ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	if u, ok := fs.units.Get(k.ID()); ok {
		return u, nil // live, or its tag would have been refused
	}
	return fs.readyUnit(k)
}

func (fs *FS) readyUnit(k *keyring.Unit) (*unit, error) {
	fail := func(err error) (*unit, error) { return nil, fmt.Errorf("erasure unit %s: %w", k.ID(), err) }
	root, err := k.Root(unitRecords)
	if err != nil {
		return fail(err)
	}
	defer clear(root)
	u := &unit{key: k, names: sync.OnceValues(func() (*record.Names, error) { return unitNamesOf(k) })}
	if u.rec, err = record.NewUnit(fs.o.ID, root, k.Tag); err != nil {
		return fail(err)
	}
	fs.units.Put(k.ID(), u)
	return u, nil
}

func unitNamesOf(k *keyring.Unit) (*record.Names, error) {
	root, err := k.Root(unitNames)
	if err != nil {
		return nil, fmt.Errorf("names of erasure unit %s: %w", k.ID(), err)
	}
	defer clear(root)
	return record.NewNames(root)
}

// sealRecord seals the encoded record under key for the unit, nil for none.
func (fs *FS) sealRecord(u *unit, space efs.Space, key, plain []byte) ([]byte, error) {
	if u == nil {
		return fs.sealer.Seal(space, key, plain)
	}
	return u.rec.Seal(space, key, plain)
}

// openRecord opens the record under key, and says which unit it belongs to.
// efs.ErrForgotten if that has been forgotten.
func (fs *FS) openRecord(space efs.Space, key, sealed []byte) (b []byte, u *unit, err error) {
	tag, ok := record.UnitTag(sealed)
	if !ok {
		b, err = fs.sealer.Open(space, key, sealed)
		return b, nil, err
	}
	if u, err = fs.unitByTag(tag); err != nil {
		return nil, nil, err
	}
	b, err = u.rec.Open(space, key, sealed)
	return b, u, err
}

// unitOfRecord returns the unit that a sealed record says it belongs to.
func (fs *FS) unitOfRecord(sealed []byte) (*unit, error) {
	tag, ok := record.UnitTag(sealed)
	if !ok {
		return nil, nil
	}
	return fs.unitByTag(tag)
}

// isForgotten reports whether a record or content does not open because its
// unit has been forgotten.
func isForgotten(err error) bool { return errors.Is(err, efs.ErrForgotten) }

// tokens says what the tokens of a directory's names are made with: the name
// key of the unit if own, else that of the file system, as of a directory that
// was there before it became part of a unit.
type tokens struct {
	unit *unit
	own  bool
}

// entryKey returns the key of a name in a directory.
func (fs *FS) entryKey(k tokens, dir efs.ID, name string) (key entryKey, err error) {
	names := fs.names
	if k.own && k.unit != nil {
		if names, err = k.unit.names(); err != nil {
			return key, err
		}
	}
	copy(key[:], dir[:])
	token := names.Entry(dir, name)
	copy(key[16:], token[:])
	return key, nil
}

// tokensOf returns what the tokens of a directory are made with, by its place.
// The root and directories that are gone have the file system's.
func (fs *FS) tokensOf(ctx context.Context, dir efs.ID) (tokens, error) {
	if dir == fs.o.ID {
		return tokens{}, nil
	}
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpacePlaces, Bytes: dir[:]})
	if err != nil || recs[0].Version == 0 {
		return tokens{}, err
	}
	p, u, err := fs.openPlace(dir, recs[0].Sealed)
	if err != nil {
		return tokens{}, err
	}
	return tokens{u, p.Own}, nil
}

// openPlace opens the place of a directory.
func (fs *FS) openPlace(dir efs.ID, sealed []byte) (p place, u *unit, err error) {
	b, u, err := fs.openRecord(efs.SpacePlaces, dir[:], sealed)
	if err == nil {
		err = decodeRecord(b, &p)
	}
	if err != nil {
		err = fmt.Errorf("directory %s: %w", dir, err)
	}
	return p, u, err
}
