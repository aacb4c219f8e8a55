package access

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
)

// kindGrant is the kind of the records of grants: name of the holder,
// USER@REALM → Holding.
const kindGrant = "grant"

// MaxGrants is how many resources one holder can have grants on.
const MaxGrants = 10_000

// Grant is what somebody may do with one resource.
type Grant struct {
	On          string      `cbor:"1,keyasint" json:"on"` // a path with a leading slash, or kms:PROVIDER/KEY
	Permissions Permissions `cbor:"2,keyasint" json:"permissions"`
	Since       time.Time   `cbor:"3,keyasint" json:"since"`
}

// Holding is all grants of one holder in one file system, or on keys.
type Holding struct {
	Format int     `cbor:"1,keyasint" json:"-"`
	Holder Holder  `cbor:"2,keyasint" json:"holder"`
	Grants []Grant `cbor:"3,keyasint" json:"grants"`
}

// Holder is a principal beyond the name: whoever is given the name of a user
// who was deleted, or of a file system that was, does not come into grants
// that were forgotten elsewhere.
type Holder struct {
	User    string    `cbor:"1,keyasint" json:"user"`
	Realm   string    `cbor:"2,keyasint" json:"realm"`
	RealmID efs.ID    `cbor:"3,keyasint" json:"-"` // of the file system; zero for the directory's own users
	Created time.Time `cbor:"4,keyasint" json:"-"` // of the user; zero for the directory's own users
}

// Principal returns the holder's name.
func (h Holder) Principal() Principal { return Principal{h.User, h.Realm} }

func (h Holder) same(o Holder) bool {
	return h.Principal() == o.Principal() && h.RealmID == o.RealmID && h.Created.Equal(o.Created)
}

func encodeHolding(h *Holding) ([]byte, error) {
	b, err := detcbor.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encoding the grants of %s: %w", h.Holder.Principal(), err)
	}
	return b, nil
}

// decodeHolding reads the record of a holder's grants; efs.ErrDamaged.
func decodeHolding(name string, b []byte) (*Holding, error) {
	h := new(Holding)
	if err := detcbor.Unmarshal(b, h); err != nil || h.Format != recordVersion || h.Holder.Principal().String() != name {
		return nil, fmt.Errorf("grants of %s: record cannot be read: %w", name, unreadable(b, recordVersion))
	}
	return h, nil
}

// check refuses permissions that mean nothing on a resource.
func (r Resource) check(p Permissions) error {
	path, err := canonical(r.Path)
	switch {
	case p == 0:
		return fmt.Errorf("no permission is named: %w", efs.ErrBadInput)
	case r.IsKey() && p&^onKeys != 0:
		return fmt.Errorf("%s is nothing that can be permitted on a key; use kms:use, kms:rotate or kms:admin: %w", p&^onKeys, efs.ErrBadInput)
	case !r.IsKey() && p&onKeys != 0:
		return fmt.Errorf("%s is permitted on keys; write --on kms:KEY: %w", p&onKeys, efs.ErrBadInput)
	case !r.IsKey() && err != nil:
		return err
	case !r.IsKey() && path != "" && p&onFS != 0:
		return fmt.Errorf("%s is for a whole file system; write --on %s:/ : %w", p&onFS, r.FS, efs.ErrBadInput)
	}
	return nil
}

// sameResource reports whether two texts of grants are on the same.
func sameResource(a, b string) bool {
	if strings.HasPrefix(a, keyPrefix) || strings.HasPrefix(b, keyPrefix) {
		return a == b
	}
	x, errX := canonical(a)
	y, errY := canonical(b)
	return errX == nil && errY == nil && x == y
}

// add grants p on a resource.
func (h *Holding) add(on string, p Permissions, now time.Time) error {
	for i := range h.Grants {
		if g := &h.Grants[i]; sameResource(g.On, on) {
			g.Permissions |= p
			return nil
		}
	}
	if len(h.Grants) >= MaxGrants {
		return fmt.Errorf("%s has %d grants, which is the most; grant on a directory above: %w", h.Holder.Principal(), MaxGrants, efs.ErrRefused)
	}
	h.Grants = append(h.Grants, Grant{On: on, Permissions: p, Since: now})
	slices.SortFunc(h.Grants, func(a, b Grant) int { return strings.Compare(a.On, b.On) })
	return nil
}

// remove takes p on a resource away. What a wider grant permits is not taken
// away by naming something below it: efs.ErrRefused says which to take.
func (h *Holding) remove(r Resource, p Permissions) error {
	for i := range h.Grants {
		if g := &h.Grants[i]; sameResource(g.On, r.on()) && g.Permissions&p != 0 {
			if g.Permissions &^= p; g.Permissions == 0 {
				h.Grants = slices.Delete(h.Grants, i, i+1)
			}
			return nil
		}
	}
	who := h.Holder.Principal()
	for _, g := range h.Grants {
		wider := r
		wider.Path = g.On
		if !r.IsKey() && g.Permissions&p != 0 && newRights([]Grant{g}).at(r.Place())&p != 0 {
			return fmt.Errorf("%s has %s on %s by the grant on %s: revoke that, and grant what is to stay: %w", who, g.Permissions&p, r, wider, efs.ErrRefused)
		}
	}
	return fmt.Errorf("a grant of %s on %s to %s: %w; list-grants shows what there is", p, r, who, efs.ErrNotFound)
}

func mustCanonical(path string) string {
	p, _ := canonical(path) // checked by the caller
	return p
}

// everythingHolding is what a user who has everything has, in so many words.
func everythingHolding(fs string, u *User) *Holding {
	return &Holding{
		Format: recordVersion, Holder: Holder{User: u.Name, Realm: fs},
		Grants: []Grant{{On: "/", Permissions: Writer, Since: u.Created}},
	}
}
