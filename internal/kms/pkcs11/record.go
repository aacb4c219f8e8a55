//go:build pkcs11

package pkcs11

import (
	"fmt"
	"maps"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/miekg/pkcs11"
)

const application = "efs"

const recordFormat = 1

// record is what EFS says about a master key, as the data object holds it in
// deterministic CBOR. Tokens do not change objects in place reliably: a new
// one with the next Serial is made, then the old one destroyed.
type record struct {
	Format      int               `cbor:"1,keyasint"`
	Serial      uint64            `cbor:"2,keyasint"`
	State       efs.KeyState      `cbor:"3,keyasint"`
	DeleteAt    int64             `cbor:"4,keyasint,omitempty"` // Unix time, microseconds; 0: never
	Description string            `cbor:"5,keyasint,omitempty"`
	Tags        map[string]string `cbor:"6,keyasint,omitempty"`
}

func (r record) deleteAt() time.Time {
	if r.DeleteAt == 0 {
		return time.Time{}
	}
	return time.UnixMicro(r.DeleteAt).UTC()
}

func (r record) due(now time.Time) bool { return r.DeleteAt != 0 && !now.Before(r.deleteAt()) }

func (r record) options() efs.KeyOptions {
	return efs.KeyOptions{Description: r.Description, Tags: maps.Clone(r.Tags)}
}

func dataObjects(id string) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, application),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, labelPrefix+id),
	}
}

// record returns what is said about a master key, and the objects that say it:
// more than one where an exchange was cut off. A key of which nothing is said
// is enabled.
func (s *session) record(id string) (newest record, objects []pkcs11.ObjectHandle, err error) {
	newest = record{Format: recordFormat, State: efs.KeyEnabled}
	objects, err = s.find(dataObjects(id)...)
	for _, h := range objects {
		values, err := s.read(h, pkcs11.CKA_VALUE)
		if err != nil {
			return newest, nil, err
		}
		var r record
		if err := detcbor.Unmarshal(values[0], &r); err != nil || r.Format > recordFormat {
			return newest, nil, fmt.Errorf("%w: the data object of master key %s is unreadable, or of a newer EFS", efs.ErrDamaged, id)
		}
		if r.Serial >= newest.Serial {
			newest = r
		}
	}
	return newest, objects, err
}

// say replaces what is said about a master key.
func (s *session) say(id string, r record, old []pkcs11.ObjectHandle) error {
	r.Serial++
	value, err := detcbor.Marshal(r)
	if err != nil {
		return err
	}
	template := append(dataObjects(id), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_VALUE, value))
	if _, err := s.ctx.CreateObject(s.handle, template); err != nil {
		return fmt.Errorf("writing the data object of master key %s (where the token has none, set state = \"none\"): %w", id, err)
	}
	return s.destroyAll(old)
}

func (s *session) destroyAll(objects []pkcs11.ObjectHandle) error {
	for _, h := range objects {
		if err := s.destroy(h); err != nil {
			return err
		}
	}
	return nil
}
