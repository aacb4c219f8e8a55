//go:build pkcs11

package pkcs11

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/pkcs11"
)

const labelPrefix = "efs:"

// version is one version of a master key on the token.
type version struct {
	number  int
	created time.Time
	handle  pkcs11.ObjectHandle
}

// idOf is the CKA_ID of a version.
func idOf(number int, created time.Time) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(number))
	return binary.BigEndian.AppendUint64(b, uint64(created.UnixMicro()))
}

func parseID(b []byte) (v version, ok bool) {
	if len(b) != 4+8 {
		return v, false
	}
	v.number = int(binary.BigEndian.Uint32(b))
	v.created = time.UnixMicro(int64(binary.BigEndian.Uint64(b[4:]))).UTC()
	return v, v.number > 0
}

// find returns the objects that have all attributes.
func (s *session) find(attributes ...*pkcs11.Attribute) (all []pkcs11.ObjectHandle, err error) {
	if err := s.ctx.FindObjectsInit(s.handle, attributes); err != nil {
		return nil, fmt.Errorf("looking for objects: %w", err)
	}
	for {
		some, _, err := s.ctx.FindObjects(s.handle, 64)
		if err != nil {
			_ = s.ctx.FindObjectsFinal(s.handle)
			return nil, fmt.Errorf("looking for objects: %w", err)
		}
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	if err := s.ctx.FindObjectsFinal(s.handle); err != nil {
		return nil, fmt.Errorf("looking for objects: %w", err)
	}
	return all, nil
}

// read returns attributes of an object, in the order asked for.
func (s *session) read(h pkcs11.ObjectHandle, types ...uint) ([][]byte, error) {
	var template []*pkcs11.Attribute
	for _, t := range types {
		template = append(template, pkcs11.NewAttribute(t, nil))
	}
	attributes, err := s.ctx.GetAttributeValue(s.handle, h, template)
	if err != nil {
		return nil, fmt.Errorf("reading an object: %w", err)
	}
	var values [][]byte
	for _, a := range attributes {
		values = append(values, a.Value)
	}
	return values, nil
}

func aesKeys() []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
	}
}

// versions returns the versions of a master key, by number; none: there is no
// such key.
func (s *session) versions(id string) (all []version, err error) {
	handles, err := s.find(append(aesKeys(), pkcs11.NewAttribute(pkcs11.CKA_LABEL, labelPrefix+id))...)
	if err != nil {
		return nil, err
	}
	for _, h := range handles {
		values, err := s.read(h, pkcs11.CKA_ID)
		if err != nil {
			return nil, err
		}
		if v, ok := parseID(values[0]); ok {
			v.handle = h
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b version) int { return a.number - b.number })
	return all, nil
}

// ids returns the ids of all master keys, sorted.
func (s *session) ids() (ids []string, err error) {
	handles, err := s.find(aesKeys()...)
	if err != nil {
		return nil, err
	}
	for _, h := range handles {
		values, err := s.read(h, pkcs11.CKA_LABEL, pkcs11.CKA_ID)
		if err != nil {
			return nil, err
		}
		id, ours := strings.CutPrefix(string(values[0]), labelPrefix)
		if _, ok := parseID(values[1]); ours && ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// generate makes a version of a master key on the token.
func (s *session) generate(id string, number int, created time.Time) error {
	template := append(aesKeys(),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true),
		// Nothing but that: a key that also wraps other keys of the token can be
		// made to give them away.
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, false),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, false),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, false),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, labelPrefix+id),
		pkcs11.NewAttribute(pkcs11.CKA_ID, idOf(number, created)))
	_, err := s.ctx.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, template)
	if err != nil {
		return fmt.Errorf("making a key on the token: %w", err)
	}
	return nil
}

// destroy removes an object for good.
func (s *session) destroy(h pkcs11.ObjectHandle) error {
	if err := s.ctx.DestroyObject(s.handle, h); err != nil {
		return fmt.Errorf("destroying an object: %w", err)
	}
	return nil
}
