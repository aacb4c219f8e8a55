package fsys

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/record"
)

// place is the record of a directory in SpacePlaces: where it hangs.
type place struct {
	Parent  efs.ID `cbor:"1,keyasint"`           // zero for the root
	Name    string `cbor:"2,keyasint"`           // in Parent
	Created int64  `cbor:"3,keyasint,omitempty"` // of the root, which has no entry; Unix time, microseconds
	Own     bool   `cbor:"4,keyasint,omitempty"` // tokens of names in it are made with the name key of its erasure unit
}

// content is the record of a content in SpaceContents, where it is not the
// default: one whose trailer does not name the file that refers to it, or that is
// a part of an upload.
type content struct {
	File   efs.ID `cbor:"1,keyasint"`
	Upload efs.ID `cbor:"2,keyasint,omitzero"`
	Part   int    `cbor:"3,keyasint,omitempty"`
}

// seal encodes v and seals it as the record under key, for the unit.
func (fs *FS) seal(u *unit, space efs.Space, key []byte, v any) (sealed []byte, err error) {
	var b []byte
	if e, ok := v.(*efs.Entry); ok {
		b, err = encodeEntry(e)
	} else {
		b, err = detcbor.Marshal(v)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	defer clear(b)
	return fs.sealRecord(u, space, key, b)
}

// open opens the record under key into v.
func (fs *FS) open(space efs.Space, key, sealed []byte, v any) error {
	b, _, err := fs.openRecord(space, key, sealed)
	if err != nil {
		return err
	}
	return decodeRecord(b, v)
}

// decodeRecord decodes what was sealed as a record into v, and wipes it. Keys
// that a later version added are passed over, but for those of policies: who
// does not know them all would not do what they say.
func decodeRecord(b []byte, v any) (err error) {
	defer clear(b)
	switch v := v.(type) {
	case *efs.Entry:
		err = decodeEntry(b, v)
	case *policyRecord:
		if err = detcbor.Unmarshal(b, v); err != nil && detcbor.UnmarshalKnown(b, v) == nil {
			return fmt.Errorf("%w: the policy has settings that this program does not know: it was written by a newer EFS, start that one", efs.ErrUnsupported)
		}
	default:
		err = detcbor.UnmarshalKnown(b, v)
	}
	if err != nil {
		return fmt.Errorf("%w: decoding a record: %w", efs.ErrDamaged, err)
	}
	return nil
}

// openEntry opens an entry record and checks its form.
func (fs *FS) openEntry(key, sealed []byte) (*efs.Entry, error) {
	e, _, err := fs.openUnitEntry(key, sealed)
	return e, err
}

// openUnitEntry is openEntry that says which unit the record belongs to.
func (fs *FS) openUnitEntry(key, sealed []byte) (*efs.Entry, *unit, error) {
	b, u, err := fs.openRecord(efs.SpaceEntries, key, sealed)
	if err != nil {
		return nil, nil, err
	}
	e, err := decodeChecked(b)
	return e, u, err
}

// openOwnEntry is openEntry for a record that the index has given away: its
// memory is used, and wiped.
func (fs *FS) openOwnEntry(key, sealed []byte) (*efs.Entry, error) {
	e, _, err := fs.openOwnUnitEntry(key, sealed)
	return e, err
}

// openOwnUnitEntry is openOwnEntry that says which unit the record belongs to.
func (fs *FS) openOwnUnitEntry(key, sealed []byte) (*efs.Entry, *unit, error) {
	if _, ok := record.UnitTag(sealed); ok {
		return fs.openUnitEntry(key, sealed)
	}
	b, err := fs.sealer.OpenInPlace(efs.SpaceEntries, key, sealed)
	if err != nil {
		return nil, nil, err
	}
	e, err := decodeChecked(b)
	return e, nil, err
}

func decodeChecked(b []byte) (*efs.Entry, error) {
	// One allocation for an entry with one content.
	var room struct {
		efs.Entry
		extent [1]efs.Extent
		digest [sha256.Size]byte
	}
	e := &room.Entry
	e.Extents, e.Digest = room.extent[:0], room.digest[:0]
	if err := decodeRecord(b, e); err != nil {
		return nil, err
	}
	if err := e.CheckExtents(); err != nil {
		return nil, err
	}
	return e, nil
}

// newETag returns a fresh opaque ETag. Each version gets one, and it never
// comes from what the version is made of, so it tells nothing and survives
// moving and re-sealing.
func newETag() string {
	var b [12]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
